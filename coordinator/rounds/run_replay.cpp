// SPDX-License-Identifier: Apache-2.0

// How a run comes back within a round: by going through its journal again.

#include <algorithm>
#include <utility>

#include "base/overloaded.h"
#include "base/status_macros.h"
#include "coordinator/rounds/run.h"
#include "fmt/format.h"

namespace fedtune {

absl::Status Run::Replay(const ResumePoint& point, Step& step) {
  const auto* opened = std::get_if<AttemptOpened>(&point.journal.front().what);
  if (opened == nullptr || opened->round != rounds_done_) {
    return absl::DataLossError(
        fmt::format("the journal of round {} does not begin with its opening", rounds_done_ + 1));
  }
  if (opened->roster.has_value() && secure_.has_value() && *opened->roster != secure_->roster) {
    LeaveOldRoster(*opened, point, step);
    return absl::OkStatus();
  }
  // The last entry is now.
  const absl::Duration begin = step.now - point.journal.back().at;
  Effects replayed;
  Step past{begin, replayed};
  RETURN_IF_ERROR(ReplayOpening(*opened, past));
  for (auto entry = point.journal.begin() + 1; entry != point.journal.end(); ++entry) {
    past.now = begin + entry->at;
    ReplayEntry(*entry, past);
  }
  if (!point.lost.empty()) {
    Handle(ReleaseFailed{point.lost}, past);
    Advance(past);
  }
  EmitRestored(replayed, *opened, step);
  return absl::OkStatus();
}

absl::Status Run::ReplayOpening(const AttemptOpened& opened, Step& step) {
  OpenAttempt(TaskOf(opened.round, opened.attempt, step.now), RestoreMembers(opened), step);
  if (!std::holds_alternative<Ended>(phase_)) return absl::OkStatus();
  return absl::DataLossError(std::get<Ended>(phase_).reason);
}

// Gives back the cohort.
std::vector<Institution> Run::RestoreMembers(const AttemptOpened& opened) {
  tries_ = opened.tries;
  burnt_in_a_row_ = opened.burnt_in_a_row;
  std::vector<Institution> cohort;
  for (const AttemptOpened::Member& member : opened.members) {
    clients_.Restore(member);
    if (member.in_cohort) cohort.push_back(member.institution);
  }
  return cohort;
}

// What clients have said under the other roster is signed for another session. None can
// have been asked to agree unless the inputs of a whole cohort had come.
void Run::LeaveOldRoster(const AttemptOpened& opened, const ResumePoint& point, Step& step) {
  constexpr std::string_view kWhy = "the signing roster was renewed while it was open";
  RestoreMembers(opened);
  clients_.LoseAllConnections();
  int64_t inputs = 0;
  for (const JournalEntry& entry : point.journal) {
    const auto* received = std::get_if<ReceivedFromClient>(&entry.what);
    if (received == nullptr || clients_.Find(received->from) == nullptr) continue;
    const auto& [from, event] = *received;
    if (std::holds_alternative<ContributionTaken>(event)) ++inputs;
    if (const auto* accepted = std::get_if<RunAccepted>(&event)) Handle(from, *accepted, step);
    if (const auto* declined = std::get_if<RunDeclined>(&event)) Handle(from, *declined, step);
  }
  if (inputs < plan_.secure.min_cohort) {
    return OpenAttempt(opened.round, opened.attempt + 1, step);
  }
  const RoundTask task = TaskOf(opened.round, opened.attempt, step.now);
  task.evaluate_only ? FinishUnevaluated(kWhy, step) : BurnRound(task, kWhy, {}, step);
}

// An entry that cannot be any more, since something before it is lost, is left out.
void Run::ReplayEntry(const JournalEntry& entry, Step& step) {
  std::visit(
      Overloaded{[](const AttemptOpened&) {},
                 [&](const RunEvent& event) { Append(Receive(event, step.now), step); },
                 [&](const TimeIsUp&) { Append(Tick(step.now), step); },
                 [&](const NewProcess&) { LoseAllConnections(step); }, [](const BetweenRounds&) {},
                 [&](const ReceivedFromClient& received) {
                   const auto* taken = std::get_if<ContributionTaken>(&received.event);
                   if (taken != nullptr) {
                     const auto admission = CheckContribution(received.from, taken->header);
                     if (!admission.ok() || admission->repeated) return;
                   }
                   Append(Receive(received.from, received.event, step.now), step);
                 }},
      entry.what);
}

void Run::Append(Effects effects, Step& step) {
  std::move(effects.begin(), effects.end(), std::back_inserter(step.effects));
}

// Of all that the replay led to, only what is still to be done: nobody is connected
// who could be told anything, and what was to be stored before is stored.
void Run::EmitRestored(const Effects& replayed, const AttemptOpened& opened, Step& step) {
  const auto last = [&]<typename E>(const E*) -> const E* {
    for (auto effect = replayed.rbegin(); effect != replayed.rend(); ++effect) {
      if (const E* found = std::get_if<E>(&*effect)) return found;
    }
    return nullptr;
  };
  if (const auto* end = last(static_cast<const EndRun*>(nullptr))) {
    return step.effects.emplace_back(*end), void();
  }
  const OpenRound* round = CurrentRound();
  if (round == nullptr) return;  // The attempt was given up; no other one is open.
  OpenAggregation open = *last(static_cast<const OpenAggregation*>(nullptr));
  open.restored = round->task().Is(opened.round, opened.attempt);
  if (open.restored) open.opened.at = opened.at;
  step.effects.emplace_back(std::move(open));
  if (!std::holds_alternative<Releasing>(phase_)) return;
  step.effects.emplace_back(*last(static_cast<const Release*>(nullptr)));
}

void Run::LoseAllConnections(const Step& step) {
  clients_.LoseAllConnections();
  if (auto* training = std::get_if<Training>(&phase_)) WaitForThoseAway(*training, step);
}

// As those who are connected now have just come, and everyone else is away.
void Run::Reconnect(const std::vector<Institution>& connected, Step& step) {
  LoseAllConnections(step);
  for (const Institution& institution : connected) {
    Append(Receive(institution, ClientConnected{}, step.now), step);
  }
}

}  // namespace fedtune
