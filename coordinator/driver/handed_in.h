// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <optional>
#include <variant>

#include "absl/status/statusor.h"
#include "coordinator/driver/contribution_buffer.h"
#include "coordinator/driver/masked_input.h"
#include "coordinator/rounds/run.h"
#include "coordinator/rounds/run_events.h"

namespace fedtune {

// A contribution that has come whole, on its way into its round.
struct HandedIn {
  Institution from;
  ContributionHeader header;
  // A masked one stays with whoever hands it in.
  std::variant<VerifiedValues, MaskedInput*> what;
  std::optional<absl::StatusOr<Admission>> outcome = std::nullopt;  // Once it is decided.
  std::function<void()> decided = nullptr;                          // For RunDriver::TakeLater().

  SpooledBytes& bytes() {
    if (auto* masked = std::get_if<MaskedInput*>(&what)) return (*masked)->bytes();
    return std::get<VerifiedValues>(what).values->bytes();
  }
  std::optional<SpooledContent> content() const {
    const auto* values = std::get_if<VerifiedValues>(&what);
    return values != nullptr ? values->content() : std::nullopt;
  }
};

}  // namespace fedtune
