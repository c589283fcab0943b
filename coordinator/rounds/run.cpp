// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rounds/run.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// In the final evaluation. Longer than a client waits before it tries again.
constexpr absl::Duration kMayBeAway = absl::Minutes(2);

double InUnitRange(double value) { return value >= 0 ? std::min(value, 1.0) : 0; }

}  // namespace

// ---- Start ----

absl::StatusOr<Run> Run::Start(Options options, absl::Duration now, Effects& effects) {
  const std::optional<ResumePoint> resume = std::move(options.resume);
  const std::vector<Institution> connected = std::move(options.connected);
  Run run(std::move(options));
  Step step{now, effects};
  run.phase_ = run.InvitingFrom(now);
  if (resume.has_value()) {
    run.Restore(*resume);
    if (resume->stop.has_value()) {
      run.End(RunState::kStopped, *resume->stop, step);
      return run;
    }
    if (!resume->journal.empty()) {
      run.attempts_before_ = 0;
      RETURN_IF_ERROR(run.Replay(*resume, step));
      run.Reconnect(connected, step);
      return run;
    }
  }
  for (const Institution& institution : connected) {
    if (run.clients_.MayTakePart(institution)) run.clients_.Add(institution).connected = true;
  }
  if (!resume.has_value() || resume->retried) {
    RETURN_IF_ERROR(run.clients_.CheckQuorumIsConnected());
  }
  for (const auto& [institution, client] : run.clients_) {
    if (client.connected) effects.push_back(Invite{institution});
  }
  if (resume.has_value()) run.GoOn(step);
  return run;
}

// Without a journal: no client has heard of another attempt than those counted.
void Run::GoOn(Step& step) {
  if (pause_.has_value()) {
    TellPauseToAll(step);
    phase_ = Paused{};
  } else if (HasWhoIsNeeded()) {
    BeginRound(rounds_done_, step);
  }
}

Run::Run(Options options)
    : id_(std::move(options.id)),
      plan_(std::move(options.plan)),
      layout_(Sha256Of(options.layout.ToJson())),
      values_a_(options.layout.parameter_count(FactorSet::kA)),
      values_b_(options.layout.parameter_count(FactorSet::kB)),
      final_evaluation_(options.final_evaluation),
      invitation_timeout_(options.invitation_timeout),
      secure_(std::move(options.secure)),
      adapter_layout_(std::move(options.layout)),
      routing_(options.routing),
      numbers_(secure_.has_value() ? secure_->numbers : std::map<Institution, uint32_t>()),
      clients_(plan_, secure_),
      phase_(Inviting{}),
      adapter_(options.adapter) {}

void Run::Restore(const ResumePoint& point) {
  for (const ResumePoint::Client& client : point.clients) clients_.Restore(client);
  rounds_done_ = point.rounds_done;
  attempts_before_ = point.attempts_opened;
  rounds_burnt_ = point.rounds_burnt;
  burnt_in_a_row_ = point.burnt_in_a_row;
  pause_ = point.pause;
  last_round_ = point.last_round;
  first_evaluation_ = point.first_evaluation;
  last_evaluation_ = point.last_evaluation;
}

// ---- Events ----

Effects Run::Receive(const Institution& from, ClientEvent event, absl::Duration now) {
  Effects effects;
  Step step{now, effects};
  if (std::holds_alternative<ClientConnected>(event) && clients_.MayTakePart(from) &&
      IsOpenToNew()) {
    clients_.Add(from);
  }
  if (clients_.Find(from) == nullptr) return effects;
  std::visit([&](const auto& kind) { Handle(from, kind, step); }, event);
  Advance(step);
  return effects;
}

Effects Run::Receive(RunEvent event, absl::Duration now) {
  Effects effects;
  Step step{now, effects};
  std::visit([&](const auto& kind) { Handle(kind, step); }, event);
  Advance(step);
  return effects;
}

void Run::Handle(const Institution& from, const ClientConnected&, Step& step) {
  Participant& client = clients_.at(from);
  client.connected = true;
  ++client.comings_and_goings;
  client.progress = {};
  if (const Ended* ended = std::get_if<Ended>(&phase_)) {
    if (client.accepted) {
      step.effects.push_back(TellRunEnded{from, ended->state, ended->reason});
    }
    return;
  }
  if (!client.accepted && !client.refuses_log && !IsOpenToNew()) return;
  step.effects.push_back(Invite{from});
  if (pause_.has_value()) TellPause(from, step);
  auto* training = std::get_if<Training>(&phase_);
  if (training != nullptr && client.work.has_value() && !training->round.Contains(from)) {
    training->round.Add(from);
  }
  if (training != nullptr && (client.work.has_value() || training->round.Expects(from))) {
    SendWork(from, training->round, step);
  }
  if (const auto* aggregating = std::get_if<Aggregating>(&phase_)) {
    if (!aggregating->round.HasContributed(from)) return;  // It goes on without this one.
    // It may have forgotten all but its records.
    SendAssignment(from, aggregating->round, step);
    AskOpenQuestion(from, step);
  }
}

void Run::Handle(const Institution& from, const ClientDisconnected&, Step& step) {
  Participant& client = clients_.at(from);
  client.connected = false;
  const bool is_known_for_it = client.ComesAndGoes();
  ++client.comings_and_goings;
  if (is_known_for_it || AwaitedRound(from) == nullptr) return;
  WaitForThoseAway(std::get<Training>(phase_), step);
}

// Only the final evaluation does not wait for them as long as for the others.
void Run::WaitForThoseAway(Training& training, const Step& step) {
  if (training.round.task().evaluate_only) training.away_until = step.now + kMayBeAway;
}

// Whether one that comes and goes all the time is there is not in the journal, and so must
// not matter.
void Run::GiveUpThoseAway(Training& training) const {
  training.away_until.reset();
  for (const Institution& institution : training.round.Expected()) {
    const Participant& client = clients_.at(institution);
    if (client.connected || client.ComesAndGoes()) continue;
    training.round.Fail(institution, "went offline");
  }
}

void Run::Handle(const Institution& from, const RunAccepted& event, Step& step) {
  TakeAnswer(from, clients_.AnswerOf(event), step);
}

void Run::Handle(const Institution& from, const RunDeclined& event, Step& step) {
  TakeAnswer(from, Participants::AnswerOf(event), step);
}

void Run::TakeAnswer(const Institution& from, const ParticipantAnswer& answer, const Step& step) {
  const bool has_waited = WaitsForTheLog();
  if (!clients_.Answer(from, answer, HasAnOpening())) return;
  if (has_waited && !WaitsForTheLog()) {
    std::get<Inviting>(phase_).deadline = step.now + plan_.rounds.deadline;
  }
  if (answer.accepts) return;
  if (OpenRound* round = AwaitedRound(from)) round->Remove(from);
}

void Run::Handle(const Institution& from, const ProgressReported& event, Step&) {
  if (!IsItsWork(from, event.round, event.attempt)) return;
  if (AwaitedRound(from) == nullptr && !clients_.at(from).work.has_value()) return;
  ProgressReported& progress = clients_.at(from).progress;
  progress = event;
  progress.fraction = InUnitRange(event.fraction);
  if (!std::isfinite(event.tokens_per_second)) progress.tokens_per_second = 0;
  progress.note = ShortReason(event.note);
}

void Run::Handle(const Institution& from, const ContributionTaken& event, Step& step) {
  const absl::StatusOr<Admission> admission = CheckContribution(from, event.header);
  Check(admission.ok() && !admission->repeated, "a contribution was taken that was not admitted");
  Participant& client = clients_.at(from);
  client.taken = event.header;
  if (auto* aggregating = std::get_if<Aggregating>(&phase_)) {
    const absl::Status taken =
        aggregating->session.Receive(*numbers_.Of(from), event.header.input_manifest);
    Check(taken.ok(), "an input was taken that was not admitted");
    return;
  }
  OpenRound* round = AwaitedRound(from);
  ClientMetrics metrics = event.header.metrics;
  const bool is_old = event.header.round != round->task().round;
  if (is_old) metrics.before.reset();  // It has evaluated another adapter than the round's.
  round->Contribute(from, admission->weight, client.example_count, metrics);
  client.work.reset();
  if (plan_.rounds.asynchronous && is_old && !HasEnough(*round) && round->expected() > 0) {
    GiveNewest(from, *round, step);
  }
}

void Run::Handle(const Institution& from, const ClientFailed& event, Step& step) {
  Participant& client = clients_.at(from);
  client.agreed_rounds = std::max(client.agreed_rounds, AgreedRounds(event));
  auto* aggregating = std::get_if<Aggregating>(&phase_);
  if (aggregating != nullptr && aggregating->round.task().Is(event.round, event.attempt) &&
      numbers_.Of(from).has_value()) {
    if (!aggregating->session.Includes(*numbers_.Of(from))) return;
    step.effects.push_back(ReportFault{from, event.round, ShortReason(event.reason)});
    return aggregating->session.Drop(*numbers_.Of(from));
  }
  auto* training = std::get_if<Training>(&phase_);
  if (training != nullptr && training->session.has_value() && numbers_.Of(from).has_value() &&
      training->round.task().Is(event.round, event.attempt)) {
    training->session->Drop(*numbers_.Of(from));
  }
  if (!IsItsWork(from, event.round, event.attempt)) return;
  client.work.reset();
  OpenRound* round = AwaitedRound(from);
  if (round != nullptr) round->Fail(from, ShortReason(event.reason));
}

void Run::Handle(const Released& event, Step& step) {
  const auto* releasing = std::get_if<Releasing>(&phase_);
  if (releasing == nullptr || releasing->round.task().round != event.round) return;
  for (const Institution& institution : releasing->contributors) {
    ++clients_.at(institution).rounds_contributed;
  }
  RoundSummary summary = event.counted.value_or(releasing->round.Summary());
  Remember(summary.evaluation);
  if (releasing->round.task().evaluate_only) return Finish(summary, step);
  CountRound(*releasing);
  last_round_ = std::move(summary);
  adapter_ = event.adapter;
  rounds_done_ = event.round + 1;
  if (releasing->stop_reason.has_value()) {
    return End(RunState::kStopped, *releasing->stop_reason, step);
  }
  BeginRound(rounds_done_, step);
}

void Run::Handle(const ReleaseFailed& event, Step& step) {
  if (std::holds_alternative<Aggregating>(phase_)) return LoseSum(event.reason, step);
  const auto* releasing = std::get_if<Releasing>(&phase_);
  if (releasing == nullptr) return;
  const RoundTask task = releasing->round.task();
  const std::string failed =
      fmt::format("round {} could not be released: {}", task.round + 1, event.reason);
  if (releasing->stop_reason.has_value()) {
    return End(RunState::kStopped, fmt::format("{}; {}", *releasing->stop_reason, failed), step);
  }
  // The next round may go better.
  if (secure_.has_value() && !releasing->contributors.empty()) {
    if (task.evaluate_only) return FinishUnevaluated(event.reason, step);
    if (event.is_impossible_sum) return BurnImpossible(event.reason, step);
    return BurnRound(task, event.reason, {}, step);
  }
  End(RunState::kFailed, failed, step);
}

void Run::Handle(const StopRequested& event, Step& step) {
  if (auto* releasing = std::get_if<Releasing>(&phase_)) {
    releasing->stop_reason = ShortReason(event.reason);
  } else if (!std::holds_alternative<Ended>(phase_)) {
    End(RunState::kStopped, ShortReason(event.reason), step);
  }
}

Effects Run::Tick(absl::Duration now) {
  Effects effects;
  Step step{now, effects};
  if (!deadline().has_value() || now < *deadline()) return effects;
  if (auto* inviting = std::get_if<Inviting>(&phase_)) {
    inviting->timed_out = true;
    if (!HasWhoIsNeeded() && now >= inviting->deadline) {
      End(RunState::kFailed, clients_.WhyTooFewAccepted(), step);
    }
    Advance(step);
    return effects;
  }
  if (std::holds_alternative<Aggregating>(phase_)) {
    AdvanceAggregating(step, true);
    Advance(step);
    return effects;
  }
  auto& training = std::get<Training>(phase_);
  const OpenRound& round = training.round;
  if (now < round.task().deadline) {
    GiveUpThoseAway(training);
  } else if (round.task().evaluate_only) {
    FinishEvaluation(step);
  } else if (round.contributed() >= plan_.rounds.quorum) {
    CloseTraining(step);
  } else {
    RetryOrFail(step);
  }
  Advance(step);
  return effects;
}

std::optional<absl::Duration> Run::deadline() const {
  if (const auto* inviting = std::get_if<Inviting>(&phase_)) {
    if (WaitsForTheLog()) return std::nullopt;
    return inviting->timed_out ? inviting->deadline : inviting->timeout;
  }
  if (const auto* training = std::get_if<Training>(&phase_)) {
    const absl::Duration round = training->round.task().deadline;
    return std::min(round, training->away_until.value_or(round));
  }
  if (const auto* aggregating = std::get_if<Aggregating>(&phase_)) return aggregating->deadline;
  return std::nullopt;
}

// ---- Questions ----

bool Run::HasWhoIsNeeded() const {
  return clients_.QuorumHasAccepted() || rounds_done_ == plan_.rounds.count;
}

bool Run::IsOpenToNew() const {
  return !std::holds_alternative<Ended>(phase_) && rounds_done_ < plan_.rounds.count;
}

bool Run::WaitsForTheLog() const {
  return std::holds_alternative<Inviting>(phase_) && clients_.LogIsRefusedByTooMany();
}

bool Run::HasAnOpening() const { return CurrentRound() != nullptr || attempts_given_up_ > 0; }

OpenRound* Run::AwaitedRound(const Institution& from) {
  auto* training = std::get_if<Training>(&phase_);
  return training != nullptr && training->round.Expects(from) ? &training->round : nullptr;
}

}  // namespace fedtune
