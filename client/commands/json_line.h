// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "nlohmann/json.hpp"

namespace fedtune {

// One line for machines. Bytes that are not UTF-8, as file names may have, are
// replaced.
inline std::string JsonLine(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace fedtune
