// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fedtune {

struct HostAndPort {
  std::string host;  // Without brackets.
  uint16_t port = 0;
};

// "fl.example.org:7443", "10.0.0.7:7443", "[fd00::7]:7443"; no scheme, no path. None: it
// is something else. A port of 0 means something only to who listens.
std::optional<HostAndPort> ParseHostAndPort(std::string_view text);

// As it is parsed.
std::string ToString(const HostAndPort& address);

// Whether `text` names where somebody can be called: a port from 1 on.
bool IsHostAndPort(std::string_view text);

}  // namespace fedtune
