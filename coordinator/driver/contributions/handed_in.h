// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <variant>

#include "absl/status/statusor.h"
#include "coordinator/driver/contributions/contribution_buffer.h"
#include "coordinator/driver/contributions/masked_input.h"
#include "coordinator/rounds/run.h"
#include "coordinator/rounds/run_events.h"

namespace fedtune {

// What comes behind a contribution's header: values, or a masked vector in a secure run.
using ContributionBody = std::variant<VerifiedValues, std::shared_ptr<MaskedElements>>;

// A contribution that has come whole, on its way into its round.
struct HandedIn {
  Institution from;
  ContributionHeader header;
  ContributionBody what;
  std::optional<absl::StatusOr<Admission>> outcome = std::nullopt;  // Once it is decided.
  std::function<void()> decided = nullptr;                          // For RunDriver::TakeLater().

  SpooledBytes& bytes() {
    if (const auto* values = std::get_if<VerifiedValues>(&what)) return values->values->bytes();
    return std::get<std::shared_ptr<MaskedElements>>(what)->bytes();
  }
  const SpooledBytes& bytes() const {
    if (const auto* values = std::get_if<VerifiedValues>(&what)) return values->values->bytes();
    return std::get<std::shared_ptr<MaskedElements>>(what)->bytes();
  }
  std::optional<SpooledContent> content() const {
    if (const auto* values = std::get_if<VerifiedValues>(&what)) return values->content();
    return std::get<std::shared_ptr<MaskedElements>>(what)->content();
  }
};

}  // namespace fedtune
