// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/origin_limit.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace fedtune {
namespace {

std::string Text(int family, const void* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(family, address, text.data(), text.size());
  return text.data();
}

std::optional<std::string> OriginOf(const in_addr& address) {
  constexpr uint32_t kLoopbackNet = 127;
  if (ntohl(address.s_addr) >> 24U == kLoopbackNet) return std::nullopt;
  return Text(AF_INET, &address);
}

std::optional<std::string> OriginOf(in6_addr address) {
  if (IN6_IS_ADDR_LOOPBACK(&address)) return std::nullopt;
  if (IN6_IS_ADDR_V4MAPPED(&address)) {
    in_addr mapped{};
    std::memcpy(&mapped, address.s6_addr + 12, sizeof(mapped));
    return OriginOf(mapped);
  }
  std::fill(address.s6_addr + 8, address.s6_addr + 16, uint8_t{0});
  return Text(AF_INET6, &address) + "/64";
}

}  // namespace

std::optional<std::string> OriginOf(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    return OriginOf(reinterpret_cast<const sockaddr_in&>(address).sin_addr);
  }
  if (address.ss_family == AF_INET6) {
    return OriginOf(reinterpret_cast<const sockaddr_in6&>(address).sin6_addr);
  }
  return std::nullopt;
}

OriginLimit::Verdict OriginLimit::Judge(const std::string& origin, absl::Duration now) {
  if (now - since_ >= kWithin) {
    since_ = now;
    opened_.clear();
  }
  Opened& opened = opened_[origin];
  if (++opened.count <= most_) return Verdict::kTaken;
  return std::exchange(opened.refused, true) ? Verdict::kRefused : Verdict::kRefusedFirst;
}

}  // namespace fedtune
