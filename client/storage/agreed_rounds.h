// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "fmt/format.h"

namespace fedtune {

// Where a status carries it.
inline constexpr char kAgreedRoundsPayload[] = "fedtune/agreed_rounds";

// `status`, an error, with up to which of its run's rounds, counted from 1, this
// institution has agreed on survivors: which is why there is nothing to be done.
inline absl::Status WithAgreedRounds(absl::Status status, int64_t rounds) {
  status.SetPayload(kAgreedRoundsPayload, absl::Cord(fmt::format("{}", rounds)));
  return status;
}

// 0: the status says nothing of it.
inline int64_t AgreedRounds(const absl::Status& status) {
  const auto rounds = status.GetPayload(kAgreedRoundsPayload);
  return rounds ? std::stoll(std::string(*rounds)) : 0;
}

}  // namespace fedtune
