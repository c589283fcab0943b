// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/time/time.h"
#include "base/clock.h"
#include "simulation/scheduler.h"

namespace fedtune::simulation {

// A process' clocks: the one that never jumps starts anywhere, the time of day may
// be set anew.
class ProcessClock final : public Clock {
 public:
  ProcessClock(const Scheduler& scheduler, absl::Duration since)
      : scheduler_(scheduler), since_(since) {}

  absl::Time Now() const override {
    return absl::FromUnixSeconds(1'800'000'000) + scheduler_.now() + day_;
  }
  absl::Duration Monotonic() const override { return scheduler_.now() + since_; }
  absl::Duration since() const { return since_; }
  void StepBy(absl::Duration by) { day_ += by; }

 private:
  const Scheduler& scheduler_;
  const absl::Duration since_;
  absl::Duration day_ = absl::ZeroDuration();
};

}  // namespace fedtune::simulation
