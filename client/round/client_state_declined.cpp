// SPDX-License-Identifier: Apache-2.0

// Runs that were declined for want of something that may come, such as the disk with the base
// model, which is mounted after the client has started.

#include <algorithm>
#include <utility>

#include "client/round/client_state.h"

namespace fedtune {
namespace {

constexpr absl::Duration kFirstLook = absl::Minutes(1);
constexpr absl::Duration kLongestPause = absl::Hours(1);

}  // namespace

// Each time twice as long: it may never come. Who has mended it by hand waits for us.
void ClientState::PlanToLookAgain(RunState& run) {
  if (run.answer->accepted || !run.answer->may_pass || run.answer->refuses_log) {
    run.look_again_at.reset();
    run.looks_again_after = absl::ZeroDuration();
    return;
  }
  const absl::Duration longest = run.answer->passes_by_hand ? kFirstLook : kLongestPause;
  run.looks_again_after = std::clamp(2 * run.looks_again_after, kFirstLook, longest);
  run.look_again_at = now_.monotonic + run.looks_again_after;
}

// It is as if it were invited again.
void ClientState::LookAgain() {
  for (auto& [name, run] : runs_) {
    if (!run.look_again_at || now_.monotonic < *run.look_again_at) continue;
    run.look_again_at.reset();
    run.told_decline = std::exchange(run.answer, std::nullopt);
    duties_.push_back(Study{*run.invitation});
  }
}

}  // namespace fedtune
