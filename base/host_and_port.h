// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string_view>

namespace fedtune {

// Whether `text` names where somebody can be called: "fl.example.org:7443",
// "10.0.0.7:7443", "[fd00::7]:7443"; no scheme, no path, and a port from 1 to 65535.
bool IsHostAndPort(std::string_view text);

}  // namespace fedtune
