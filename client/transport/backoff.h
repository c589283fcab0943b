// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <random>
#include <stop_token>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace fedtune {

// How long to wait before trying again: twice as long each time, up to half a
// minute, and shortened by up to a half at random so that many clients do not
// come back at once. Not thread-safe.
class Backoff {
 public:
  absl::Duration Next() {
    const absl::Duration full = next_;
    next_ = std::min(2 * next_, kLongest);
    if (!random_.has_value()) random_.emplace(std::random_device{}());
    return full * std::uniform_real_distribution<double>(0.5, 1)(*random_);
  }

  void Reset() { next_ = kShortest; }

 private:
  static constexpr absl::Duration kShortest = absl::Milliseconds(500);
  static constexpr absl::Duration kLongest = absl::Seconds(30);

  absl::Duration next_ = kShortest;
  std::optional<std::minstd_rand> random_;  // Its seed takes longer than many a call.
};

// Whether a call that failed may go better later: nobody answers, or not to our certificate,
// which may have expired and is renewed.
inline bool MayGoBetter(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsUnauthenticated(status);
}

// False: stopped meanwhile.
inline bool Pause(absl::Duration duration, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  stopped.wait_for(lock, stop, absl::ToChronoMilliseconds(duration), [] { return false; });
  return !stop.stop_requested();
}

}  // namespace fedtune
