// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/status.h"
#include "absl/strings/cord.h"

namespace fedtune {

// Where a status says so.
inline constexpr char kRefusedLogPayload[] = "fedtune/refused_log";

// `status`, an error, because the coordinator's log is not the one that this institution has
// seen: it passes once somebody here has accepted the log.
inline absl::Status WithRefusedLog(absl::Status status) {
  status.SetPayload(kRefusedLogPayload, absl::Cord("refused"));
  return status;
}

inline bool IsLogRefused(const absl::Status& status) {
  return status.GetPayload(kRefusedLogPayload).has_value();
}

}  // namespace fedtune
