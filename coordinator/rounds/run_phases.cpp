// SPDX-License-Identifier: Apache-2.0

// The transitions between a run's phases; run.cpp takes the events.

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/status.h"
#include "coordinator/rounds/run.h"
#include "coordinator/rounds/some_of.h"
#include "fmt/format.h"
#include "plan/evaluated_rounds.h"

namespace fedtune {
namespace {

constexpr int64_t kMaxTries = 2;

// What a client has still, for a round that was closed.
constexpr absl::Duration kSentAgainWithin = absl::Minutes(10);

// Of one round, because the coordinator's log is refused.
constexpr int64_t kMostAttemptsGivenUp = 16;

}  // namespace

void Run::Advance(Step& step) {
  // A transition may make the next one due, as when a round opens that can
  // have no quorum.
  while (AdvanceInviting(step) || AdvanceTraining(step) || AdvanceAggregating(step, false)) {
  }
}

bool Run::AdvanceInviting(Step& step) {
  const auto* inviting = std::get_if<Inviting>(&phase_);
  if (inviting == nullptr) return false;
  const bool all_answered = clients_.AllHaveAnswered();
  if (!all_answered && !inviting->timed_out) return false;
  if (HasWhoIsNeeded() && !WaitsForTheLog()) {
    BeginRound(rounds_done_, step);
    return true;
  }
  if (!all_answered || WaitsForTheLog()) return false;
  End(RunState::kFailed, clients_.WhyTooFewAccepted(), step);
  return true;
}

bool Run::AdvanceTraining(Step& step) {
  const auto* training = std::get_if<Training>(&phase_);
  if (training == nullptr) return false;
  const OpenRound& round = training->round;
  if (round.task().evaluate_only) {
    if (round.expected() > 0) return false;
    if (round.contributed() < plan_.rounds.quorum && MayGiveUpForTheLog(round.task())) {
      WaitForTheLog(step);
    } else {
      FinishEvaluation(step);
    }
  } else if (round.contributed() + round.expected() < plan_.rounds.quorum) {
    RetryOrFail(step);
  } else if (round.expected() == 0 || HasEnough(round)) {
    CloseTraining(step);
  } else {
    return false;
  }
  return true;
}

bool Run::HasEnough(const OpenRound& round) const {
  return plan_.rounds.close_at > 0 && round.contributed() >= plan_.rounds.close_at;
}

void Run::BeginRound(int64_t round, Step& step) {
  if (round == plan_.rounds.count && rounds_burnt_ == round) return EndWithoutARound(step);
  if (round == plan_.rounds.count && !final_evaluation_) {
    return End(RunState::kFinished, "", step);
  }
  if (pause_.has_value()) {
    phase_ = Paused{};
    return;
  }
  if (clients_.LogIsRefusedByTooMany()) {
    phase_ = Inviting{.timeout = step.now, .deadline = step.now, .timed_out = true};
    return;
  }
  tries_ = 1;
  const int64_t before = std::exchange(attempts_before_, 0);
  const int64_t given_up = std::exchange(attempts_given_up_, 0);
  if (secure_.has_value() && before > 0) {
    // Clients may have agreed on whose input counts.
    if (round == plan_.rounds.count) {
      return FinishUnevaluated("it was open when the run ended before, and is not begun again",
                               step);
    }
    return BurnUncounted({.round = round, .attempt = before, .deadline = step.now},
                         "what it had come to is lost", step);
  }
  // Where so many say so, nobody trains for it in vain.
  if (round < plan_.rounds.count && clients_.IsAgreedByTooMany(round, plan_.secure.min_cohort)) {
    return BurnAgreed(TaskOf(round, std::max(before, given_up) + 1, step.now), step);
  }
  OpenAttempt(round, std::max(before, given_up) + 1, step);
}

RoundTask Run::TaskOf(int64_t round, int64_t attempt, absl::Duration now) const {
  const bool final = round == plan_.rounds.count;
  return {.round = round,
          .attempt = attempt,
          .factors = TrainedFactors(plan_.aggregation.method, round),
          .evaluate = Evaluates(plan_, round),
          .evaluate_only = final,
          .deadline = now + plan_.rounds.deadline,
          .routing = final || secure_.has_value() ? RoutingShape() : routing_};
}

void Run::OpenAttempt(int64_t round, int64_t attempt, Step& step) {
  const RoundTask task = TaskOf(round, attempt, step.now);
  EndOldWork(task, step);
  OpenAttempt(task, clients_.Cohort(task, tries_ >= kMaxTries), step);
}

void Run::OpenAttempt(const RoundTask& task, const std::vector<Institution>& cohort, Step& step) {
  Training training{OpenRound(task, cohort), std::nullopt};
  if (secure_.has_value()) {
    absl::StatusOr<CoordinatorSession> session = NewSession(task, cohort);
    if (!session.ok()) {
      return task.evaluate_only ? FinishUnevaluated(Message(session.status()), step)
                                : End(RunState::kFailed,
                                      fmt::format("round {} cannot be aggregated securely: {}",
                                                  task.round + 1, Message(session.status())),
                                      step);
    }
    training.session.emplace(*std::move(session));
  }
  const bool all_are_here = std::all_of(cohort.begin(), cohort.end(), [this](const auto& member) {
    return clients_.at(member).connected;
  });
  if (!all_are_here) WaitForThoseAway(training, step);
  phase_ = std::move(training);
  const OpenRound& open = std::get<Training>(phase_).round;
  step.effects.push_back(OpenAggregation{.round = task.round,
                                         .attempt = task.attempt,
                                         .factors = task.factors,
                                         .evaluate_only = task.evaluate_only,
                                         .opened = Opened(open)});
  clients_.ForgetLastAttempt();
  for (const Institution& institution : cohort) {
    Participant& client = clients_.at(institution);
    client.progress = {};
    if (client.connected) SendWork(institution, open, step);
  }
}

AttemptOpened Run::Opened(const OpenRound& round) const {
  AttemptOpened opened{.round = round.task().round,
                       .attempt = round.task().attempt,
                       .tries = tries_,
                       .burnt_in_a_row = burnt_in_a_row_,
                       .members = clients_.MembersOf(round)};
  if (secure_.has_value()) opened.roster = secure_->roster;
  return opened;
}

void Run::CloseTraining(Step& step) {
  if (secure_.has_value()) return BeginAggregating(step);
  OpenRound round = std::move(std::get<Training>(phase_).round);
  KeepWorkOfExpected(round);
  CloseForExpected(round,
                   fmt::format("round {} closed with {} contributions", round.task().round + 1,
                               round.contributed()),
                   step);
  step.effects.push_back(Release{.round = round.task().round,
                                 .attempt = round.task().attempt,
                                 .factors = round.task().factors,
                                 .incoming = adapter_,
                                 .summary = round.Summary(),
                                 .between = clients_.Between()});
  std::vector<Institution> contributors = round.Contributors();
  phase_ = Releasing{std::move(round), std::move(contributors)};
}

void Run::Handle(const ContributionsLost& event, Step& step) {
  bool was_closed = false;
  if (auto* releasing = std::get_if<Releasing>(&phase_)) {
    if (releasing->stop_reason.has_value()) {
      return End(RunState::kStopped, std::string(*releasing->stop_reason), step);
    }
    OpenRound round = std::move(releasing->round);
    phase_ = Training{std::move(round), std::nullopt};
    was_closed = true;
  }
  auto* training = std::get_if<Training>(&phase_);
  if (training == nullptr) return;
  std::vector<Institution> asked;
  for (const Institution& institution : event.from) {
    if (!training->round.HasContributed(institution)) continue;
    training->round.TakeBack(institution,
                             step.now + std::min(plan_.rounds.deadline, kSentAgainWithin));
    clients_.at(institution).taken.reset();
    asked.push_back(institution);
  }
  if (was_closed) asked = training->round.Expected();
  const RoundTask& task = training->round.task();
  for (const Institution& institution : asked) {
    Participant& client = clients_.at(institution);
    client.progress = {};
    if (client.work.has_value() && client.work->Is(task.round, task.attempt)) client.work.reset();
    if (client.connected) SendWork(institution, training->round, step);
  }
}

// A client that accepts and refuses the log in turn is not to open attempts without end.
bool Run::MayGiveUpForTheLog(const RoundTask& task) const {
  return task.attempt < kMostAttemptsGivenUp && clients_.LogIsRefusedByTooMany();
}

// Whoever has trained for it hands that in for the next attempt.
void Run::WaitForTheLog(Step& step) {
  const OpenRound round = std::move(std::get<Training>(phase_).round);
  CloseForExpected(round,
                   fmt::format("round {} waits until the coordinator's log is accepted by a quorum",
                               round.task().round + 1),
                   step);
  attempts_given_up_ = round.task().attempt;
  BeginRound(round.task().round, step);
}

void Run::RetryOrFail(Step& step, std::string_view why, std::vector<Institution> at_fault) {
  const OpenRound round = std::move(std::get<Training>(phase_).round);
  const int64_t number = round.task().round + 1;
  const bool time_is_up = step.now >= round.task().deadline;
  std::vector<std::string> missing = round.Missing(time_is_up);
  if (!why.empty()) missing.emplace_back(why);
  if (clients_.IsAgreedByTooMany(round.task().round, 1)) {
    CloseForExpected(round, fmt::format("round {} burns", number), step);
    return BurnAgreed(round.task(), step);
  }
  if (MayGiveUpForTheLog(round.task())) {
    std::get<Training>(phase_).round = round;
    return WaitForTheLog(step);
  }
  if (tries_ < kMaxTries && clients_.QuorumHasAccepted()) {
    CloseForExpected(
        round, fmt::format("round {} had too few contributions and is tried again", number), step);
    std::ranges::copy(round.AtFault(time_is_up && why.empty()), std::back_inserter(at_fault));
    PutBlame(at_fault, round.task(), round.task().round,
             fmt::format("round {} was tried again: {}", number, SomeOf(std::move(missing), "; ")),
             step);
    ++tries_;
    return OpenAttempt(round.task().round, round.task().attempt + 1, step);
  }
  for (const auto& [institution, client] : clients_) {
    if (client.declined && !round.Contains(institution)) {
      missing.push_back(fmt::format("{} declined: {}", institution.value, client.reason));
    }
  }
  End(RunState::kFailed,
      fmt::format("round {} had {} of the {} contributions it needs: {}", number,
                  round.contributed(), plan_.rounds.quorum, SomeOf(std::move(missing), "; ")),
      step);
}

void Run::PutBlame(const std::vector<Institution>& at_fault, const RoundTask& task, int64_t next,
                   std::string_view why, Step& step, Others count) {
  for (ReportFault& fault : clients_.PutBlame(at_fault, task.round, next, why, count)) {
    step.effects.emplace_back(std::move(fault));
  }
}

void Run::FinishEvaluation(Step& step) {
  if (secure_.has_value()) return BeginAggregating(step);
  const OpenRound round = std::move(std::get<Training>(phase_).round);
  const RoundSummary summary = round.Summary();
  Remember(summary.evaluation);
  if (summary.contributions > 0) return Finish(summary, step);
  std::vector<std::string> missing = round.Missing(step.now >= round.task().deadline);
  FinishUnevaluated(missing.empty() ? "no client was connected" : SomeOf(std::move(missing), "; "),
                    step);
}

void Run::Finish(const RoundSummary& evaluated, Step& step) {
  if (!evaluated.evaluation.has_value()) {
    return FinishUnevaluated("no client has records to evaluate it on", step);
  }
  End(RunState::kFinished, "", step);
}

void Run::FinishUnevaluated(std::string_view why, Step& step) {
  End(RunState::kFinished,
      fmt::format("the final evaluation is missing: {}", ShortReason(std::string(why))), step);
}

// Nothing was learnt: that is no end to be content with.
void Run::EndWithoutARound(Step& step) {
  const std::string why = last_round_.has_value() && !last_round_->burnt.empty()
                              ? "; the last one: " + last_round_->burnt
                              : "";
  End(RunState::kFailed, fmt::format("all of its {} rounds have burnt{}", rounds_done_, why), step);
}

void Run::End(RunState state, std::string reason, Step& step) {
  step.effects.push_back(EndRun{state, reason});
  for (const auto& [institution, client] : clients_) {
    if (client.connected && (!client.declined || client.refuses_log)) {
      step.effects.push_back(TellRunEnded{institution, state, reason});
    }
  }
  phase_ = Ended{state, std::move(reason)};
}

void Run::SendAssignment(const Institution& institution, const OpenRound& round, Step& step) {
  const RoundTask& task = round.task();
  step.effects.push_back(Assign{institution,
                                {.round = task.round,
                                 .attempt = task.attempt,
                                 .adapter = adapter_,
                                 .factors = task.factors,
                                 .evaluate = task.evaluate,
                                 .evaluate_only = task.evaluate_only,
                                 .time_left = task.deadline - step.now}});
}

void Run::CloseForExpected(const OpenRound& round, std::string_view reason, Step& step) const {
  for (const Institution& institution : round.Expected()) {
    const Participant& client = clients_.at(institution);
    if (!client.connected || client.work.has_value()) continue;
    step.effects.push_back(
        CloseRound{institution, round.task().round, round.task().attempt, std::string(reason)});
  }
}

void Run::Remember(const std::optional<EvaluationSummary>& evaluation) {
  if (!evaluation.has_value()) return;
  if (!first_evaluation_.has_value()) first_evaluation_ = evaluation;
  last_evaluation_ = evaluation;
}

}  // namespace fedtune
