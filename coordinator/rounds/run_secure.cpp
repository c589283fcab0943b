// SPDX-License-Identifier: Apache-2.0

// How a run aggregates securely: the protocol's session decides, this decides
// what follows for the round.

#include <algorithm>
#include <iterator>
#include <memory>
#include <utility>

#include "base/status.h"
#include "base/status_macros.h"
#include "coordinator/rounds/run.h"
#include "coordinator/rounds/some_of.h"
#include "fmt/format.h"
#include "plan/secure_session.h"

namespace fedtune {
namespace {

constexpr int kMostBurntInARow = 2;

using SessionPhase = CoordinatorSession::Phase;

std::string NamesOf(const std::vector<Institution>& institutions) {
  std::vector<std::string_view> names;
  for (const Institution& each : institutions) names.push_back(each.value);
  return SomeOf(std::move(names), ", ");
}

absl::Status NotAwaited() {
  return absl::FailedPreconditionError("the round takes no masked input of this client now");
}

}  // namespace

absl::StatusOr<CoordinatorSession> Run::NewSession(const RoundTask& task,
                                                   const std::vector<Institution>& cohort) const {
  ASSIGN_OR_RETURN(
      SessionParameters parameters,
      SecureSessionParameters(plan_, secure_->plan_toml, adapter_layout_, secure_->roster,
                              {.federation = secure_->federation,
                               .run = id_.value,
                               .round = task.round,
                               .attempt = task.attempt,
                               .factors = task.factors,
                               .evaluate_only = task.evaluate_only,
                               .routing = routing_}));
  CoordinatorSession::Options options{.parameters = std::move(parameters),
                                      .signing_keys = secure_->signing_keys,
                                      .cohort = {},
                                      .model = TrainedFrom(secure_->base_digest, adapter_)};
  for (const Institution& institution : cohort) {
    const std::optional<uint32_t> number = numbers_.Of(institution);
    if (!number.has_value()) {
      return absl::FailedPreconditionError(fmt::format(
          "{} is not on the signing roster with a key of the plan's suite", institution.value));
    }
    options.cohort.push_back(*number);
  }
  return CoordinatorSession::Create(std::move(options));
}

// While clients train, each one that is done sends its keys.
absl::Status Run::TakeKeys(const Institution& from, const SecureMessageReceived& event) {
  Training& training = std::get<Training>(phase_);
  RETURN_IF_ERROR(training.session->Receive(*numbers_.Of(from), event.message));
  if (training.round.Expects(from)) training.round.Contribute(from, 0, 0, {});
  return absl::OkStatus();
}

void Run::Handle(const Institution& from, const SecureMessageReceived& event, Step& step) {
  if (!secure_.has_value() || !numbers_.Of(from).has_value()) return;
  const OpenRound* round = CurrentRound();
  if (round == nullptr || !round->task().Is(event.round, event.attempt)) return;
  if (std::holds_alternative<Training>(phase_)) {
    const absl::Status taken = TakeKeys(from, event);
    if (!absl::IsInvalidArgument(taken)) return;
    OpenRound& open = std::get<Training>(phase_).round;
    if (open.Expects(from)) open.Fail(from, std::string(Message(taken)));
    return;
  }
  auto* aggregating = std::get_if<Aggregating>(&phase_);
  if (aggregating == nullptr) return;
  const absl::StatusOr<MessageKind> kind = KindOf(event.message);
  // An input's manifest counts only together with its input.
  if (kind.ok() && *kind == MessageKind::kInputManifest) return;
  const absl::Status taken = aggregating->session.Receive(*numbers_.Of(from), event.message);
  if (!taken.ok() || !kind.ok()) return;
  // Keys that come again are those of a client that was started again; who agrees
  // late still helps to unmask.
  const bool late =
      *kind == MessageKind::kAgreement && aggregating->session.phase() == SessionPhase::kUnmasking;
  if (*kind == MessageKind::kAdvertisement || late) AskOpenQuestion(from, step);
}

void Run::BeginAggregating(Step& step) {
  Training training = std::move(std::get<Training>(phase_));
  CloseForExpected(
      training.round,
      fmt::format("round {} goes on without this client", training.round.task().round + 1), step);
  const SessionPhase reached = training.session->phase();
  for (const Institution& institution : training.round.Expected()) {
    training.session->Drop(*numbers_.Of(institution));
  }
  phase_ = Aggregating{std::move(training.round), *std::move(training.session),
                       step.now + plan_.secure.phase_deadline};
  Aggregating& aggregating = std::get<Aggregating>(phase_);
  aggregating.session.Advance(true);
  TellFaults(step);
  if (aggregating.session.phase() == SessionPhase::kFailed) {
    return GiveUpAggregating(reached, step);
  }
  AskOpenQuestions(step);
}

bool Run::AdvanceAggregating(Step& step, bool time_is_up) {
  auto* aggregating = std::get_if<Aggregating>(&phase_);
  if (aggregating == nullptr) return false;
  const SessionPhase before = aggregating->session.phase();
  const bool moved = aggregating->session.Advance(time_is_up);
  TellFaults(step);
  if (!moved) return false;
  switch (aggregating->session.phase()) {
    case SessionPhase::kFailed:
      GiveUpAggregating(before, step);
      break;
    case SessionPhase::kDone:
      ReleaseSecureSum(step);
      break;
    default:
      AskOpenQuestions(step);
  }
  return true;
}

// The session's next phase begins.
void Run::AskOpenQuestions(Step& step) {
  auto& aggregating = std::get<Aggregating>(phase_);
  const bool upload = aggregating.session.phase() == SessionPhase::kCollecting;
  aggregating.deadline = step.now + (upload ? plan_.rounds.deadline : plan_.secure.phase_deadline);
  for (const uint32_t number : aggregating.session.Awaited()) {
    const Institution* institution = numbers_.InstitutionWith(number);
    if (institution != nullptr) AskOpenQuestion(*institution, step);
  }
}

void Run::AskOpenQuestion(const Institution& institution, Step& step) const {
  const auto& aggregating = std::get<Aggregating>(phase_);
  const std::optional<uint32_t> number = numbers_.Of(institution);
  if (!number.has_value() || !clients_.at(institution).connected) return;
  Bytes message = aggregating.session.MessageFor(*number);
  if (message.empty()) return;
  step.effects.push_back(SendSecureMessage{.institution = institution,
                                           .round = aggregating.round.task().round,
                                           .attempt = aggregating.round.task().attempt,
                                           .message = std::move(message)});
}

void Run::TellFaults(Step& step) {
  auto& aggregating = std::get<Aggregating>(phase_);
  const std::vector<CoordinatorSession::Fault>& faults = aggregating.session.faults();
  for (; aggregating.faults_told < faults.size(); ++aggregating.faults_told) {
    const CoordinatorSession::Fault& fault = faults[aggregating.faults_told];
    const Institution* institution = numbers_.InstitutionWith(fault.number);
    if (institution == nullptr) continue;
    step.effects.push_back(ReportFault{*institution, aggregating.round.task().round, fault.what});
  }
}

void Run::ReleaseSecureSum(Step& step) {
  Aggregating aggregating = std::move(std::get<Aggregating>(phase_));
  const RoundTask task = aggregating.round.task();
  std::vector<Institution> contributors;
  for (const uint32_t number : aggregating.session.Survivors()) {
    contributors.push_back(*numbers_.InstitutionWith(number));
  }
  step.effects.push_back(Release{
      .round = task.round,
      .attempt = task.attempt,
      .factors = task.factors,
      .incoming = adapter_,
      .summary = {.round = task.round,
                  .attempt = task.attempt,
                  .contributions = std::ssize(contributors)},
      .masks = std::make_shared<const MaskStreams>(std::move(aggregating.session).TakeMasks()),
      .evaluate_only = task.evaluate_only,
      .between = clients_.Between()});
  phase_ = Releasing{std::move(aggregating.round), std::move(contributors)};
}

// `reached`: the phase that could not be ended.
void Run::GiveUpAggregating(SessionPhase reached, Step& step) {
  Aggregating aggregating = std::move(std::get<Aggregating>(phase_));
  const RoundTask task = aggregating.round.task();
  const std::string why = numbers_.WithNames(aggregating.session.failure());
  std::vector<Institution> at_fault;
  for (const uint32_t number : aggregating.session.AtFault()) {
    at_fault.push_back(*numbers_.InstitutionWith(number));
  }
  for (const Institution& institution : aggregating.round.Contributors()) {
    if (!clients_.at(institution).connected) continue;
    step.effects.push_back(CloseRound{institution, task.round, task.attempt, why});
  }
  const bool waits = reached < SessionPhase::kAgreeing && clients_.LogIsRefusedByTooMany();
  if (task.evaluate_only && !waits) return FinishUnevaluated(why, step);
  if (reached >= SessionPhase::kAgreeing) return BurnRound(task, why, at_fault, step);
  phase_ = Training{std::move(aggregating.round), std::nullopt};
  RetryOrFail(step, why, std::move(at_fault));
}

// The sum, or something that belongs into it, is lost.
void Run::LoseSum(std::string_view why, Step& step) {
  Aggregating aggregating = std::move(std::get<Aggregating>(phase_));
  const RoundTask task = aggregating.round.task();
  const bool agreed = aggregating.session.phase() >= SessionPhase::kAgreeing;
  if (task.evaluate_only) return FinishUnevaluated(why, step);
  if (agreed) return BurnRound(task, why, {}, step);
  phase_ = Training{std::move(aggregating.round), std::nullopt};
  RetryOrFail(step, why);
}

void Run::BurnRound(const RoundTask& task, std::string_view why,
                    const std::vector<Institution>& at_fault, Step& step, Others others) {
  if (burnt_in_a_row_ + 1 >= kMostBurntInARow) {
    const bool is_known = last_round_.has_value() && !last_round_->burnt.empty();
    return End(RunState::kFailed,
               fmt::format("round {} burnt, as the one before it: {}{}", task.round + 1, why,
                           is_known ? "; the one before it: " + last_round_->burnt : ""),
               step);
  }
  PutBlame(at_fault, task, task.round + 1, fmt::format("round {} burnt: {}", task.round + 1, why),
           step, others);
  ReleaseNothing(task, why, true, step);
}

// One of those in the sum has masked what cannot be, and nobody can tell which: the next
// round is asked of others where these suffice. Its sum has nobody in common with this one's,
// and so nothing is learnt from the two of them together. Who is connected says nothing: a
// process that makes the sum again has just started.
void Run::BurnImpossible(std::string_view reason, Step& step) {
  auto& releasing = std::get<Releasing>(phase_);
  const RoundTask task = releasing.round.task();
  std::vector<Institution> suspects = std::move(releasing.contributors);
  std::sort(suspects.begin(), suspects.end());
  for (const Institution& suspect : suspects) {
    step.effects.push_back(ReportSuspect{suspect, task.round, ShortReason(std::string(reason))});
  }
  BurnRound(task, fmt::format("{}; it was one of {}", reason, NamesOf(suspects)), suspects, step,
            Others::kAll);
}

// It was summed before what this run knows was stored.
void Run::BurnAgreed(const RoundTask& task, Step& step) {
  BurnUncounted(task,
                fmt::format("{} clients have agreed on its survivors before, and the coordinator "
                            "knows nothing of it: its state is older than theirs, as after a "
                            "restore",
                            clients_.CountAgreed(task.round)),
                step);
}

// For what says nothing of how rounds go.
void Run::BurnUncounted(const RoundTask& task, std::string_view why, Step& step) {
  ReleaseNothing(task, why, false, step);
}

// `counts`: for how many burn in a row.
void Run::ReleaseNothing(const RoundTask& task, std::string_view why, bool counts, Step& step) {
  BetweenRounds between = clients_.Between();
  between.burnt_in_a_row = burnt_in_a_row_ + (counts ? 1 : 0);
  step.effects.push_back(Release{.round = task.round,
                                 .attempt = task.attempt,
                                 .factors = task.factors,
                                 .incoming = adapter_,
                                 .summary = {.round = task.round,
                                             .attempt = task.attempt,
                                             .burnt = ShortReason(std::string(why))},
                                 .unchanged = true,
                                 .between = std::move(between)});
  phase_ = Releasing{OpenRound(task, {}), {}, counts};
}

// It is released.
void Run::CountRound(const Releasing& releasing) {
  const bool burnt = releasing.contributors.empty();
  if (burnt) ++rounds_burnt_;
  if (burnt && !releasing.counts_as_burnt) return;
  burnt_in_a_row_ = burnt ? burnt_in_a_row_ + 1 : 0;
}

// No more than the plan has, whatever a client says.
int64_t Run::AgreedRounds(const ClientFailed& event) const {
  return secure_.has_value() ? std::min(event.agreed_rounds, plan_.rounds.count) : 0;
}

absl::StatusOr<Admission> Run::CheckMaskedInput(const Institution& from,
                                                const ContributionHeader& header) const {
  const auto* aggregating = std::get_if<Aggregating>(&phase_);
  const std::optional<uint32_t> number = numbers_.Of(from);
  if (aggregating == nullptr || !number.has_value() ||
      !aggregating->round.task().Is(header.round, header.attempt)) {
    return NotAwaited();
  }
  if (header.adapter != adapter_ || header.layout != layout_) {
    return absl::InvalidArgumentError(
        "the masked input is for another adapter or layout than the round's");
  }
  if (header.metrics != ClientMetrics()) {
    return absl::InvalidArgumentError("a masked input has no metrics beside it");
  }
  const uint64_t size = static_cast<uint64_t>(aggregating->session.element_count()) *
                        BytesPerElement(plan_.secure.ring);
  if (header.size_bytes != size) {
    return absl::InvalidArgumentError(
        fmt::format("the masked input has {} bytes, {} are expected", header.size_bytes, size));
  }
  ASSIGN_OR_RETURN(const Digest root,
                   aggregating->session.CheckInput(*number, header.input_manifest));
  return Admission{.weight = 0, .chunk_root = root};
}

}  // namespace fedtune
