// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <mutex>
#include <stop_token>
#include <thread>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/logging.h"

namespace fedtune {

// A clock whose monotonic time passes only while this process runs: while it is stopped, its
// control group frozen or its machine asleep, it hears nobody, and what waits in its sockets
// is not late. Thread-safe.
class RunningClock final : public Clock {
 public:
  // Looks at `clock` so often, at least; what lies between two looks and is longer than that by
  // kLongestDelay counts for nothing, and the log says so. `clock` and `log` must outlive it.
  RunningClock(const Clock& clock, absl::Duration looks_every, Log& log);

  absl::Time Now() const override { return clock_.Now(); }
  absl::Duration Monotonic() const override;

  // How long a thread may wait for a processor.
  static constexpr absl::Duration kLongestDelay = absl::Seconds(2);

 private:
  void Look(const std::stop_token& stop);
  absl::Duration StoodStill() const;

  const Clock& clock_;
  const absl::Duration looks_every_;
  Log& log_;
  mutable std::mutex mutex_;
  mutable absl::Duration last_;
  mutable absl::Duration stood_still_;
  std::jthread thread_;  // Last: it uses all of the above.
};

}  // namespace fedtune
