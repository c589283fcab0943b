// SPDX-License-Identifier: Apache-2.0

#include "client/transport/line.h"

#include <algorithm>

namespace fedtune {
namespace {

// Within a building, or to a data centre nearby, answers come sooner.
constexpr absl::Duration kLongLine = absl::Milliseconds(15);

// How many times as many bytes go over a line when messages twice as large are worth it.
constexpr double kWorthIt = 1.3;

// The coordinator hears of a message when it is whole, and gives up an upload of which it has
// heard nothing for half a minute.
constexpr absl::Duration kSlow = absl::Seconds(1);
constexpr absl::Duration kTooSlow = absl::Seconds(4);

}  // namespace

void RoundTrips::Note(absl::Duration took) {
  const std::lock_guard lock(mutex_);
  shortest_ = std::min(shortest_, took);
}

absl::Duration RoundTrips::shortest() const {
  const std::lock_guard lock(mutex_);
  return shortest_;
}

MessageSize::MessageSize(absl::Duration round_trip)
    : may_grow_(round_trip >= kLongLine && round_trip < absl::InfiniteDuration()) {}

void MessageSize::Took(absl::Duration time) {
  if (time > kTooSlow) {
    may_grow_ = false;
    next_ = std::max(next_ / 2, kLeast);
  }
  if (!may_grow_) return;
  spent_ += time;
  if (++count_ == kShown) TryTwice();
}

void MessageSize::TryTwice() {
  const double seconds = std::max(absl::ToDoubleSeconds(spent_), 1e-9);
  const double rate = kShown * static_cast<double>(next_) / seconds;
  const bool is_worth_it = rate > kWorthIt * before_;
  if (!is_worth_it) next_ /= 2;
  may_grow_ = is_worth_it && next_ < kMost && spent_ < kShown * kSlow;
  if (may_grow_) next_ *= 2;
  before_ = rate;
  count_ = 0;
  spent_ = absl::ZeroDuration();
}

}  // namespace fedtune
