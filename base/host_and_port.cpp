// SPDX-License-Identifier: Apache-2.0

#include "base/host_and_port.h"

#include <algorithm>
#include <charconv>

#include "fmt/format.h"

namespace fedtune {
namespace {

std::optional<uint16_t> ParsePort(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return port;
}

bool IsHost(std::string_view text, bool bracketed) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_' || (bracketed && (c == ':' || c == '%'));
  });
}

}  // namespace

std::optional<HostAndPort> ParseHostAndPort(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const std::optional<uint16_t> port = ParsePort(text.substr(colon + 1));
  if (!port || !IsHost(host, bracketed)) return std::nullopt;
  return HostAndPort{.host = std::string(host), .port = *port};
}

std::string ToString(const HostAndPort& address) {
  const bool bracketed = address.host.find(':') != std::string::npos;
  return bracketed ? fmt::format("[{}]:{}", address.host, address.port)
                   : fmt::format("{}:{}", address.host, address.port);
}

bool IsHostAndPort(std::string_view text) {
  const std::optional<HostAndPort> address = ParseHostAndPort(text);
  return address && address->port > 0;
}

}  // namespace fedtune
