// SPDX-License-Identifier: Apache-2.0

// How a run pauses and goes on.

#include <algorithm>

#include "coordinator/rounds/run.h"

namespace fedtune {

bool Run::CanPause() const {
  const OpenRound* round = CurrentRound();
  return !std::holds_alternative<Ended>(phase_) &&
         (round == nullptr || !round->task().evaluate_only);
}

void Run::Handle(const PauseRequested& event, Step& step) {
  if (pause_.has_value() || !CanPause()) return;
  pause_ = ShortReason(event.reason);
  TellPauseToAll(step);
  if (std::holds_alternative<Inviting>(phase_)) phase_ = Paused{};
}

void Run::Handle(const ResumeRequested&, Step& step) {
  if (!pause_.has_value() || std::holds_alternative<Ended>(phase_)) return;
  pause_.reset();
  TellPauseToAll(step);
  if (!std::holds_alternative<Paused>(phase_)) return;
  if (rounds_done_ > 0 && HasWhoIsNeeded()) {
    BeginRound(rounds_done_, step);
  } else {
    phase_ = InvitingFrom(step.now);
  }
}

Run::Inviting Run::InvitingFrom(absl::Duration now) const {
  return {now + std::min(invitation_timeout_, plan_.rounds.deadline), now + plan_.rounds.deadline};
}

void Run::TellPause(const Institution& institution, Step& step) const {
  step.effects.push_back(TellRunPaused{institution, pause_.has_value(), pause_.value_or("")});
}

void Run::TellPauseToAll(Step& step) const {
  for (const auto& [institution, client] : clients_) {
    if (client.connected && (!client.declined || client.refuses_log)) TellPause(institution, step);
  }
}

}  // namespace fedtune
