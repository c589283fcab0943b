// SPDX-License-Identifier: Apache-2.0

// What could not be done and is tried again, as when a disk is full: the round goes on, and its
// deadline says how long this may take.

#include <string>

#include "client/round/client_state.h"

namespace fedtune {
namespace {

constexpr absl::Duration kRetryInterval = absl::Seconds(5);

}  // namespace

void ClientState::RetryLater(RunState& run) {
  run.stage = Stage::kUnsent;
  run.retry_at = now_.monotonic + kRetryInterval;
}

void ClientState::RetrySubmissions() {
  for (auto& [name, run] : runs_) {
    if (run.stage != Stage::kUnsent || now_.monotonic < run.retry_at) continue;
    HandIn(run);
  }
}

// Told once: the coordinator heeds no client that tells it every few seconds.
void ClientState::PutOff(RunState& run, std::string_view why) {
  if (!run.put_off_until) TellWaiting(run, std::string(why));
  run.put_off_until = now_.monotonic + kRetryInterval;
  run.stage = Stage::kQueued;
  queue_.push_back(run.assignment->id.run);
}

}  // namespace fedtune
