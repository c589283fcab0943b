// SPDX-License-Identifier: Apache-2.0

// How a run keeps the work of those who are late.

#include <algorithm>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "coordinator/rounds/run.h"
#include "fmt/format.h"

namespace fedtune {

// Whether this is what the client is to answer in the open round.
bool Run::IsItsWork(const Institution& institution, int64_t round, int64_t attempt) const {
  const std::optional<OpenWork>& work = clients_.at(institution).work;
  if (work.has_value()) return work->Is(round, attempt);
  const OpenRound* open = CurrentRound();
  return open != nullptr && open->task().Is(round, attempt);
}

// The round closes without them.
void Run::KeepWorkOfExpected(const OpenRound& round) {
  if (!KeepsStragglers()) return;
  const RoundTask& task = round.task();
  for (const Institution& institution : round.Expected()) {
    std::optional<OpenWork>& work = clients_.at(institution).work;
    if (work.has_value()) continue;
    work = OpenWork{.round = task.round,
                    .attempt = task.attempt,
                    .adapter = adapter_,
                    .evaluate = task.evaluate};
  }
}

// Its contribution, which is taken, was of an older round: there is more to be done.
void Run::GiveNewest(const Institution& institution, const OpenRound& round, Step& step) {
  const RoundTask& task = round.task();
  Participant& client = clients_.at(institution);
  client.progress = {};
  client.work = OpenWork{
      .round = task.round, .attempt = task.attempt, .adapter = adapter_, .evaluate = task.evaluate};
  if (client.connected) SendWork(institution, round, step);
}

// What is too old for the round that is about to open.
void Run::EndOldWork(const RoundTask& next, Step& step) {
  for (auto& [institution, client] : clients_) {
    if (!client.work.has_value()) continue;
    const OpenWork work = *client.work;
    if (!next.evaluate_only && next.round - work.round <= plan_.rounds.max_staleness) continue;
    client.work.reset();
    if (!client.connected) continue;
    step.effects.push_back(CloseRound{
        institution, work.round, work.attempt,
        next.evaluate_only
            ? "all rounds are done"
            : fmt::format("round {} begins, and what is {} rounds late is not taken any more",
                          next.round + 1, next.round - work.round)});
  }
}

// The round's work, or what the client is still to hand in.
void Run::SendWork(const Institution& institution, const OpenRound& round, Step& step) {
  const std::optional<OpenWork>& work = clients_.at(institution).work;
  if (!work.has_value()) return SendAssignment(institution, round, step);
  step.effects.push_back(Assign{institution,
                                {.round = work->round,
                                 .attempt = work->attempt,
                                 .adapter = work->adapter,
                                 .factors = round.task().factors,
                                 .evaluate = work->evaluate,
                                 .time_left = round.task().deadline - step.now}});
}

absl::StatusOr<Admission> Run::CheckLate(const Institution& from, const OpenWork& work,
                                         const ContributionHeader& header) const {
  const auto* training = std::get_if<Training>(&phase_);
  if (training == nullptr || !training->round.Expects(from)) {
    return absl::UnavailableError(
        fmt::format("what is late for round {} counts in a later round, which does not take it yet",
                    work.round + 1));
  }
  const RoundTask& task = training->round.task();
  ExpectedContribution expected = Expected(task);
  expected.adapter = work.adapter;
  RETURN_IF_ERROR(CheckHeader(header, expected));
  Admission admission = Admitted(clients_.at(from).example_count, task.round - work.round);
  admission.late = true;
  return admission;
}

}  // namespace fedtune
