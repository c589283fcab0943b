// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>

#include "absl/time/time.h"
#include "coordinator/rounds/names.h"

namespace fedtune {

// What the log says of something that clients can do as often as they like: each time, but
// of one that does it again and again no more for a while. Not thread-safe.
class RepeatedNews {
 public:
  enum class Say : uint8_t { kIt, kThatItIsTheLast, kNothing };

  // One of them, at `now` on a clock that never jumps.
  Say Note(const Institution& client, absl::Duration now);

  // So many are said within so long.
  static constexpr int64_t kMost = 20;
  static constexpr absl::Duration kWithin = absl::Minutes(10);

 private:
  struct Told {
    absl::Duration since;
    int64_t times = 0;
  };

  std::map<Institution, Told> told_;
};

}  // namespace fedtune
