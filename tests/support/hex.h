// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"

namespace fedtune::testing {

// The bytes of a test vector.
inline std::vector<uint8_t> FromHex(std::string_view hex) {
  Check(hex.size() % 2 == 0, "bytes have two digits each");
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

}  // namespace fedtune::testing
