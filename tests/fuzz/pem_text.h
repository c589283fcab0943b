// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>

#include "absl/strings/escaping.h"

namespace fedtune::testing {

// The input itself when it is PEM already, else wrapped in PEM, so that a fuzzer
// gets to change the DER inside.
inline std::string PemText(std::string_view input, std::string_view label) {
  if (input.starts_with("-----BEGIN")) return std::string(input);
  std::string base64;
  absl::Base64Escape({input.data(), input.size()}, &base64);
  std::string pem = "-----BEGIN " + std::string(label) + "-----\n";
  for (size_t i = 0; i < base64.size(); i += 64) pem += base64.substr(i, 64) + "\n";
  return pem + "-----END " + std::string(label) + "-----\n";
}

}  // namespace fedtune::testing
