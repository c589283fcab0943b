// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "privacy/audit/checkpoint.h"

namespace fedtune {

// A signed checkpoint as files have it: an object with `note` and `certificate`, beside
// which other keys may stand.
nlohmann::ordered_json CheckpointToJson(const SignedCheckpoint& checkpoint);

// Nothing in it is verified. INVALID_ARGUMENT: it is none; the message begins with `source`.
absl::StatusOr<SignedCheckpoint> CheckpointFromJson(const nlohmann::json& json,
                                                    std::string_view source);

}  // namespace fedtune
