// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/time/time.h"

namespace fedtune {

// Where a connection comes from, as "192.0.2.7" or, of IPv6, its network of 64 bits, whose
// addresses are one machine's. None for this machine itself.
std::optional<std::string> OriginOf(const sockaddr_storage& address);

// How many connections one origin may open within some seconds: what has not shown a
// certificate yet costs memory all the same. Not thread-safe.
class OriginLimit {
 public:
  static constexpr int64_t kMost = 256;
  static constexpr absl::Duration kWithin = absl::Seconds(10);

  explicit OriginLimit(int64_t most = kMost) : most_(most) {}

  enum class Verdict : uint8_t { kTaken, kRefusedFirst, kRefused };

  // Of a new connection, at `now` on a clock that never jumps. kRefusedFirst: the first one
  // of its origin in a while.
  Verdict Judge(const std::string& origin, absl::Duration now);

 private:
  // In a span of kWithin, and whether one of them was refused.
  struct Opened {
    int64_t count = 0;
    bool refused = false;
  };

  int64_t most_;
  absl::Duration since_ = -absl::InfiniteDuration();
  std::map<std::string, Opened> opened_;  // Since then.
};

}  // namespace fedtune
