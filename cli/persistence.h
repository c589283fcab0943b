// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>

#include "absl/status/status.h"
#include "base/clock.h"
#include "cli/asked_again.h"
#include "cli/patience.h"

namespace fedtune {

// So often, one after the other, nothing may come of what is fetched before it is given up.
inline constexpr int kMostSilences = 3;

// How long the rest of something is asked for again that is fetched over a line which breaks
// off, or in which nothing comes though it stands. Not thread-safe.
class Persistence {
 public:
  // `clock` must outlive it.
  explicit Persistence(const Clock& clock) : clock_(clock) {}

  // Whether to ask again after an answer that ended like this, too early: UNAVAILABLE, for
  // kComesBackWithin from the first on; DEADLINE_EXCEEDED, where nothing came any more,
  // kMostSilences times. If it `got_on`, both begin anew.
  bool GoesOn(const absl::Status& end, bool got_on) {
    const bool fell_silent = absl::IsDeadlineExceeded(end);
    if (got_on || fell_silent) patience_.reset();
    if (got_on) silences_ = 0;
    if (fell_silent) return ++silences_ < kMostSilences;
    if (!absl::IsUnavailable(end)) return false;
    if (!patience_.has_value()) patience_.emplace(clock_, kComesBackWithin);
    return !patience_->is_over();
  }

 private:
  const Clock& clock_;
  std::optional<Patience> patience_;
  int silences_ = 0;
};

}  // namespace fedtune
