// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>

#include "cli/log_verification.h"
#include "nlohmann/json.hpp"

namespace fedtune {

// What `fedtune log verify` has found, for people and for `--json`.
std::string LogVerificationText(const LogVerification& verification, const std::string& log);
nlohmann::ordered_json LogVerificationToJson(const LogVerification& verification,
                                             const std::string& log);

// An entry of a log as `fedtune log show` prints it: "2026-11-28T16:00:00.123Z  round 3 of
// run-7f3a opened, ...". Of one that this program cannot read, the bytes.
std::string LogEntryText(std::string_view entry);

// The same as JSON, in bytes that may be shown on a terminal: the entry's own, if they may be.
std::string LogEntryJson(std::string_view entry);

}  // namespace fedtune
