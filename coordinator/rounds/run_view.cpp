// SPDX-License-Identifier: Apache-2.0

// What a run says of itself, and of contributions; it changes nothing.

#include "absl/status/status.h"
#include "base/overloaded.h"
#include "base/printable_text.h"
#include "base/status_macros.h"
#include "coordinator/rounds/contribution_check.h"
#include "coordinator/rounds/run.h"
#include "fmt/format.h"
#include "plan/secure_vector.h"

namespace fedtune {
namespace {

ClientStanding StateOf(ReportedPhase phase) {
  switch (phase) {
    case ReportedPhase::kDownloading:
      return ClientStanding::kDownloading;
    case ReportedPhase::kEvaluating:
      return ClientStanding::kEvaluating;
    case ReportedPhase::kTraining:
      return ClientStanding::kTraining;
    case ReportedPhase::kUploading:
      return ClientStanding::kUploading;
    case ReportedPhase::kWaiting:
      break;
  }
  return ClientStanding::kWaiting;
}

bool IsSame(const ContributionHeader& a, const ContributionHeader& b) {
  return a.round == b.round && a.attempt == b.attempt && a.sha256 == b.sha256;
}

constexpr size_t kMaxReasonLength = 500;

absl::Status NotOpen(const ContributionHeader& header, std::string_view why) {
  return absl::FailedPreconditionError(fmt::format(
      "round {}, attempt {}, takes no contributions: {}", header.round + 1, header.attempt, why));
}

}  // namespace

std::string ShortReason(std::string text) {
  if (text.size() > kMaxReasonLength) text = PrintableText(text, kMaxReasonLength);
  return text;
}

std::string_view ToString(RunState state) {
  switch (state) {
    case RunState::kInviting:
      return "inviting";
    case RunState::kRunning:
      return "running";
    case RunState::kPaused:
      return "paused";
    case RunState::kFinished:
      return "finished";
    case RunState::kStopped:
      return "stopped";
    case RunState::kFailed:
      return "failed";
  }
  return "unknown";
}

std::string_view ToString(ClientStanding state) {
  switch (state) {
    case ClientStanding::kInvited:
      return "invited";
    case ClientStanding::kDeclined:
      return "declined";
    case ClientStanding::kRefusing:
      return "refusing";
    case ClientStanding::kWaiting:
      return "waiting";
    case ClientStanding::kDownloading:
      return "downloading";
    case ClientStanding::kEvaluating:
      return "evaluating";
    case ClientStanding::kTraining:
      return "training";
    case ClientStanding::kUploading:
      return "uploading";
    case ClientStanding::kDone:
      return "done";
    case ClientStanding::kFailed:
      return "failed";
    case ClientStanding::kOffline:
      return "offline";
  }
  return "unknown";
}

std::string_view ToString(RunPhase phase) {
  switch (phase) {
    case RunPhase::kNone:
      return "";
    case RunPhase::kInviting:
      return "inviting";
    case RunPhase::kTraining:
      return "training";
    case RunPhase::kAggregating:
      return "aggregating";
    case RunPhase::kReleasing:
      return "releasing";
    case RunPhase::kEvaluating:
      return "evaluating";
  }
  return "unknown";
}

bool Run::Heeds(const Institution& from, const ClientEvent& event) const {
  if (!IsJournalled(event)) return false;
  const Participant* found = clients_.Find(from);
  if (found == nullptr) {
    return std::holds_alternative<ClientConnected>(event) && clients_.MayTakePart(from) &&
           IsOpenToNew();
  }
  const Participant& client = *found;
  return std::visit(
      Overloaded{
          [&](const ClientConnected&) { return HeedsConnection(from, client); },
          [&](const ClientDisconnected&) { return HeedsConnection(from, client); },
          [&](const RunAccepted& e) { return HeedsAnswer(client, clients_.AnswerOf(e)); },
          [&](const RunDeclined& e) { return HeedsAnswer(client, Participants::AnswerOf(e)); },
          [&](const ClientFailed& e) { return HeedsFailure(from, e); },
          [&](const SecureMessageReceived& e) { return HeedsMessage(from, e); },
          [](const auto&) { return true; }},
      event);
}

// Whoever goes on with the attempt in another process has lost all connections anyway; but
// who comes back with older work joins the round.
bool Run::HeedsConnection(const Institution& from, const Participant& client) const {
  const auto* training = std::get_if<Training>(&phase_);
  const bool may_join =
      training != nullptr && client.work.has_value() && !training->round.Contains(from);
  return may_join || !client.ComesAndGoes();
}

bool Run::HeedsAnswer(const Participant& client, const ParticipantAnswer& answer) const {
  return clients_.Heeds(client, answer, HasAnOpening());
}

bool Run::HeedsFailure(const Institution& from, const ClientFailed& event) const {
  if (AgreedRounds(event) > clients_.at(from).agreed_rounds) return true;
  if (!IsItsWork(from, event.round, event.attempt)) return false;
  if (secure_.has_value()) {
    const CoordinatorSession* session = CurrentSession();
    const std::optional<uint32_t> number = numbers_.Of(from);
    return session != nullptr && number.has_value() && session->Includes(*number);
  }
  const Participant& client = clients_.at(from);
  return client.work.has_value() || Awaits(from, client);
}

bool Run::HeedsMessage(const Institution& from, const SecureMessageReceived& event) const {
  const OpenRound* round = CurrentRound();
  if (round == nullptr || !round->task().Is(event.round, event.attempt)) return false;
  const CoordinatorSession* session = CurrentSession();
  if (session == nullptr || !numbers_.Of(from).has_value()) return false;
  return session->Hears(*numbers_.Of(from), event.message);
}

absl::StatusOr<Admission> Run::CheckContribution(const Institution& from,
                                                 const ContributionHeader& header) const {
  const absl::Status stranger = absl::PermissionDeniedError(
      fmt::format("{} does not take part in {}", from.value, id_.value));
  const Participant* client = clients_.Find(from);
  if (client == nullptr) return stranger;
  // Counted is counted, as it was, whatever the client has said since.
  const std::optional<ContributionHeader>& taken = client->taken;
  if (taken.has_value() && IsSame(*taken, header)) {
    return Repeated(from, *client);
  }
  if (!client->accepted) return stranger;
  if (secure_.has_value()) return CheckMaskedInput(from, header);
  if (client->work.has_value() && client->work->Is(header.round, header.attempt)) {
    return CheckLate(from, *client->work, header);
  }
  const auto* training = std::get_if<Training>(&phase_);
  if (training == nullptr) {
    return NotOpen(header, fmt::format("the run is {}", PhaseName()));
  }
  const OpenRound& round = training->round;
  if (!round.task().Is(header.round, header.attempt)) {
    return NotOpen(header, fmt::format("open is round {}, attempt {}", round.task().round + 1,
                                       round.task().attempt));
  }
  if (!round.Contains(from)) {
    return absl::PermissionDeniedError(
        fmt::format("{} is not in the cohort of round {}", from.value, header.round + 1));
  }
  if (round.HasContributed(from)) return NotOpen(header, "another one of this client was taken");
  if (round.HasFailed(from)) return NotOpen(header, "this client has given the round up");
  RETURN_IF_ERROR(CheckHeader(header, Expected(round.task())));
  Admission admission = Admitted(client->example_count, 0);
  admission.evaluate_only = round.task().evaluate_only;
  return admission;
}

Admission Run::Admitted(int64_t example_count, int64_t staleness) const {
  return {.weight = WeightOf(plan_, ContributionWeight(plan_, example_count), staleness),
          .example_count = example_count};
}

// As it was taken, if that was for the current round.
Admission Run::Repeated(const Institution& institution, const Participant& client) const {
  Admission admission = Admitted(client.example_count, 0);
  admission.repeated = true;
  const OpenRound* round = CurrentRound();
  if (round == nullptr || !round->HasContributed(institution)) return admission;
  admission.example_count = round->ExampleCountOf(institution);
  // Keys of a secure round weigh nothing.
  if (!secure_.has_value()) admission.weight = round->WeightOf(institution);
  return admission;
}

ExpectedContribution Run::Expected(const RoundTask& task) const {
  return {.adapter = adapter_,
          .layout = layout_,
          .factors = task.factors,
          .value_count = (Contains(task.factors, Factor::kA) ? values_a_ : 0) +
                         (Contains(task.factors, Factor::kB) ? values_b_ : 0),
          .evaluate_only = task.evaluate_only,
          .routing = task.routing};
}

RunState Run::state() const {
  return std::visit(Overloaded{
                        [](const Inviting&) { return RunState::kInviting; },
                        [](const Paused&) { return RunState::kPaused; },
                        [](const Ended& ended) { return ended.state; },
                        [](const auto&) { return RunState::kRunning; },
                    },
                    phase_);
}

std::string_view Run::PhaseName() const {
  return std::holds_alternative<Releasing>(phase_) ? "making the next adapter" : ToString(state());
}

RunPhase Run::CurrentPhase() const {
  return std::visit(Overloaded{
                        [](const Inviting&) { return RunPhase::kInviting; },
                        [](const Training& training) {
                          return training.round.task().evaluate_only ? RunPhase::kEvaluating
                                                                     : RunPhase::kTraining;
                        },
                        [](const Aggregating&) { return RunPhase::kAggregating; },
                        [](const Releasing&) { return RunPhase::kReleasing; },
                        [](const Paused&) { return RunPhase::kNone; },
                        [](const Ended&) { return RunPhase::kNone; },
                    },
                    phase_);
}

RunView Run::view() const {
  RunView view;
  view.state = state();
  view.phase = CurrentPhase();
  view.quorum = plan_.rounds.quorum;
  view.close_at = plan_.rounds.close_at;
  view.round_deadline = plan_.rounds.deadline;
  view.rounds_done = rounds_done_;
  view.round_count = plan_.rounds.count;
  view.deadline = deadline();
  view.adapter = adapter_;
  view.last_round = last_round_;
  view.first_evaluation = first_evaluation_;
  view.last_evaluation = last_evaluation_;
  view.reason = pause_.value_or(WaitsForTheLog() ? clients_.WhyItWaitsForTheLog() : "");
  view.pausing = pause_.has_value() && !std::holds_alternative<Paused>(phase_);
  if (const auto* ended = std::get_if<Ended>(&phase_)) {
    view.reason = ended->reason;
    view.pausing = false;
  }
  if (const OpenRound* round = CurrentRound()) view.attempt = round->task().attempt;
  view.clients.reserve(static_cast<size_t>(clients_.size()));
  for (const auto& [institution, client] : clients_) {
    view.clients.push_back(ViewOf(institution, client));
  }
  return view;
}

std::optional<ClientView> Run::ViewOf(const Institution& institution) const {
  const Participant* client = clients_.Find(institution);
  if (client == nullptr) return std::nullopt;
  return ViewOf(institution, *client);
}

const OpenRound* Run::CurrentRound() const {
  if (const auto* training = std::get_if<Training>(&phase_)) return &training->round;
  if (const auto* aggregating = std::get_if<Aggregating>(&phase_)) return &aggregating->round;
  if (const auto* releasing = std::get_if<Releasing>(&phase_)) return &releasing->round;
  return nullptr;
}

const CoordinatorSession* Run::CurrentSession() const {
  if (const auto* aggregating = std::get_if<Aggregating>(&phase_)) return &aggregating->session;
  const auto* training = std::get_if<Training>(&phase_);
  return training != nullptr && training->session.has_value() ? &*training->session : nullptr;
}

bool Run::Awaits(const Institution& institution, const Participant& client) const {
  return std::visit(
      Overloaded{
          [&](const Inviting&) { return !client.accepted && !client.declined && client.connected; },
          [&](const Training& training) { return training.round.Expects(institution); },
          [&](const Aggregating& aggregating) {
            const std::optional<uint32_t> number = numbers_.Of(institution);
            return number.has_value() && aggregating.session.IsAwaited(*number);
          },
          [](const auto&) { return false; },
      },
      phase_);
}

ClientView Run::ViewOf(const Institution& institution, const Participant& client) const {
  ClientView view{.institution = institution,
                  .reason = client.reason,
                  .rounds_contributed = client.rounds_contributed,
                  .example_count = client.example_count,
                  .accepted = client.accepted};
  if (client.accepted && !secure_.has_value()) {
    view.weight = ContributionWeight(plan_, client.example_count);
  }
  const OpenRound* round = CurrentRound();
  view.awaited = Awaits(institution, client);
  if (client.declined) {
    view.state = client.refuses_log ? ClientStanding::kRefusing : ClientStanding::kDeclined;
  } else if (client.accepted && std::holds_alternative<Ended>(phase_)) {
    view.state = ClientStanding::kDone;
  } else if (view.awaited && std::holds_alternative<Aggregating>(phase_) && client.connected) {
    view.state = StateOf(client.progress.phase);
    // NOLINTNEXTLINE(bugprone-branch-clone): the order of the cases says which one counts.
  } else if (client.work.has_value() && client.connected) {
    view.state = StateOf(client.progress.phase);
    view.reason = client.progress.note;
    view.fraction = client.progress.fraction;
    view.tokens_per_second = client.progress.tokens_per_second;
  } else if (round != nullptr && round->HasContributed(institution)) {
    view.state = ClientStanding::kDone;
    view.fraction = 1;
  } else if (!client.connected) {
    view.state = ClientStanding::kOffline;
  } else if (!client.accepted) {
    view.state = ClientStanding::kInvited;
  } else if (round != nullptr && round->HasFailed(institution)) {
    view.state = ClientStanding::kFailed;
    view.reason = round->FailureOf(institution);
  } else if (view.awaited && round != nullptr && round->Expects(institution)) {
    view.state = StateOf(client.progress.phase);
    view.reason = client.progress.note;
    view.fraction = client.progress.fraction;
    view.tokens_per_second = client.progress.tokens_per_second;
  } else {
    view.state = ClientStanding::kWaiting;
    if (round == nullptr || !round->Contains(institution)) {
      view.reason = clients_.SittingOutText(client, rounds_done_);
    }
  }
  return view;
}

}  // namespace fedtune
