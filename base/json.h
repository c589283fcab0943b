// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace fedtune {

// Parses JSON from outside. Refuses duplicate keys, more than 64 levels, and
// anything after the value; `source` names the text in the message.
// INVALID_ARGUMENT: says at which byte.
absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, std::string_view source);

// One line for machines. Bytes that are not UTF-8, as file names may have, are replaced.
std::string JsonLine(const nlohmann::ordered_json& json);

}  // namespace fedtune
