// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/training_conversion.h"

#include <algorithm>
#include <limits>
#include <string>

#include "base/overloaded.h"
#include "base/printable_text.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "plan/plan_limits.h"

namespace fedtune {
namespace {

// For what is shown to people and kept.
std::string Shorten(const std::string& text) { return PrintableText(text, /*most_bytes=*/200); }

ReportedPhase FromMessage(v1::Progress::Phase phase) {
  switch (phase) {
    case v1::Progress::PHASE_DOWNLOADING:
      return ReportedPhase::kDownloading;
    case v1::Progress::PHASE_EVALUATING:
      return ReportedPhase::kEvaluating;
    case v1::Progress::PHASE_TRAINING:
      return ReportedPhase::kTraining;
    case v1::Progress::PHASE_UPLOADING:
      return ReportedPhase::kUploading;
    default:
      return ReportedPhase::kWaiting;
  }
}

ClientEvent FromMessage(const v1::RunDecision& decision) {
  if (decision.accepted()) return RunAccepted{.example_count = decision.example_count()};
  return RunDeclined{.reason = PrintableText(decision.reason()),
                     .refuses_log = decision.refuses_log()};
}

ProgressReported FromMessage(const v1::Progress& progress) {
  return {.round = progress.round(),
          .attempt = progress.attempt(),
          .phase = FromMessage(progress.phase()),
          .fraction = progress.fraction(),
          .tokens_per_second = progress.tokens_per_second(),
          .note = PrintableText(progress.note())};
}

ClientFailed FromMessage(const v1::RoundFailure& failure) {
  return {.round = failure.round(),
          .attempt = failure.attempt(),
          .reason = PrintableText(failure.reason()),
          .agreed_rounds = failure.agreed_rounds()};
}

SecureMessageReceived FromMessage(const v1::SecureAggregationMessage& message) {
  return {.round = message.round(),
          .attempt = message.attempt(),
          .message = {message.message().begin(), message.message().end()}};
}

EvaluationResult FromMessage(const v1::EvaluationResult& message) {
  EvaluationResult result{.loss = message.loss(), .example_count = message.example_count()};
  if (message.has_accuracy()) result.accuracy = message.accuracy();
  return result;
}

ClientMetrics FromMessage(const v1::ClientMetrics& message) {
  ClientMetrics metrics{
      .training_loss = message.training_loss(),
      .steps = message.steps(),
      .token_count = message.token_count(),
      .routed_tokens = {message.routed_tokens().begin(), message.routed_tokens().end()},
      .training_seconds = message.training_seconds()};
  if (message.has_before()) metrics.before = FromMessage(message.before());
  if (message.has_after()) metrics.after = FromMessage(message.after());
  return metrics;
}

void Fill(const RunInvitation& invitation, const std::string& run, v1::CoordinatorMessage& out) {
  v1::RunInvitation& message = *out.mutable_run_invitation();
  message.set_run_id(run);
  message.set_plan_toml(invitation.texts->plan_toml);
  message.set_layout_json(invitation.texts->layout_json);
  message.set_base_digest(invitation.texts->base_digest);
  message.set_signing_roster(invitation.texts->signing_roster);
}

void Fill(const RoundAssignment& assignment, const std::string& run, v1::CoordinatorMessage& out) {
  v1::RoundAssignment& message = *out.mutable_round_assignment();
  message.set_run_id(run);
  message.set_round(assignment.round);
  message.set_attempt(assignment.attempt);
  message.set_adapter_sha256(assignment.adapter.ToBinary());
  message.set_factors(static_cast<uint32_t>(assignment.factors));
  message.set_evaluate(assignment.evaluate);
  message.set_evaluate_only(assignment.evaluate_only);
  message.set_time_left_ms(absl::ToInt64Milliseconds(assignment.time_left));
}

void Fill(const RoundClosing& closing, const std::string& run, v1::CoordinatorMessage& out) {
  v1::RoundClosed& message = *out.mutable_round_closed();
  message.set_run_id(run);
  message.set_round(closing.round);
  message.set_attempt(closing.attempt);
  message.set_reason(closing.reason);
}

void Fill(const SecureAsking& secure, const std::string& run, v1::CoordinatorMessage& out) {
  v1::SecureAggregationMessage& message = *out.mutable_secure_aggregation();
  message.set_run_id(run);
  message.set_round(secure.round);
  message.set_attempt(secure.attempt);
  message.set_message(std::string(secure.message.begin(), secure.message.end()));
}

void Fill(const RunPausing& pause, const std::string& run, v1::CoordinatorMessage& out) {
  v1::RunPaused& message = *out.mutable_run_paused();
  message.set_run_id(run);
  message.set_paused(pause.paused);
  message.set_reason(pause.reason);
}

void Fill(const RunEnd& end, const std::string& run, v1::CoordinatorMessage& out) {
  v1::RunEnded& message = *out.mutable_run_ended();
  message.set_run_id(run);
  message.set_state(std::string(ToString(end.state)));
  message.set_reason(end.reason);
}

// Whoever logs a round counts from 1: it must not be the largest number.
absl::Status CheckIsRound(int64_t round) {
  if (round >= 0 && round <= kMostRounds) return absl::OkStatus();
  return absl::InvalidArgumentError("a client speaks of a round that no run has");
}

template <typename Message>
absl::StatusOr<RunClientEvent> OfARound(const Message& message) {
  RETURN_IF_ERROR(CheckIsRound(message.round()));
  return RunClientEvent{{message.run_id()}, FromMessage(message)};
}

}  // namespace

absl::StatusOr<RunClientEvent> FromMessage(const v1::ClientMessage& message) {
  switch (message.message_case()) {
    case v1::ClientMessage::kRunDecision:
      return RunClientEvent{{message.run_decision().run_id()}, FromMessage(message.run_decision())};
    case v1::ClientMessage::kProgress:
      return OfARound(message.progress());
    case v1::ClientMessage::kRoundFailure:
      return OfARound(message.round_failure());
    case v1::ClientMessage::kSecureAggregation:
      return OfARound(message.secure_aggregation());
    case v1::ClientMessage::kHello:
      return absl::InvalidArgumentError("a session has one hello, its first message");
    default:
      return absl::InvalidArgumentError("a message of the session is empty or of a newer version");
  }
}

absl::StatusOr<SubmittedHeader> FromMessage(const v1::ContributionHeader& message) {
  SubmittedHeader submitted{.run = {Shorten(message.run_id())}, .header = {}};
  ContributionHeader& header = submitted.header;
  header.round = message.round();
  header.attempt = message.attempt();
  RETURN_IF_ERROR(CheckIsRound(header.round));
  ASSIGN_OR_RETURN(header.adapter, Digest::FromBinary(message.adapter_sha256(), "adapter_sha256"));
  ASSIGN_OR_RETURN(header.layout, Digest::FromBinary(message.layout_sha256(), "layout_sha256"));
  header.factors = message.factors();
  header.size_bytes = message.size_bytes();
  ASSIGN_OR_RETURN(header.sha256, Digest::FromBinary(message.sha256(), "sha256"));
  header.metrics = FromMessage(message.metrics());
  header.input_manifest.assign(message.input_manifest().begin(), message.input_manifest().end());
  return submitted;
}

ClientRecord FromMessage(const v1::Hello& hello) {
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  ClientRecord client;
  client.version = Shorten(hello.client_version());
  client.device_kind = Shorten(hello.device().kind());
  client.device_name = Shorten(hello.device().name());
  client.memory_bytes = std::min<uint64_t>(hello.device().memory_bytes(), kMax);
  client.threads = hello.device().threads();
  for (const v1::DatasetSummary& dataset : hello.datasets()) {
    const int64_t room = static_cast<int64_t>(kMax) - client.example_count;
    client.example_count += std::clamp<int64_t>(dataset.example_count(), 0, room);
  }
  return client;
}

v1::CoordinatorMessage ToMessage(const ClientCommand& command) {
  v1::CoordinatorMessage message;
  std::visit([&](const auto& what) { Fill(what, command.run.value, message); }, command.what);
  return message;
}

v1::CoordinatorMessage WelcomeMessage(const std::string& federation, const Institution& client,
                                      const std::optional<std::vector<RunId>>& under_way) {
  v1::CoordinatorMessage message;
  v1::Welcome& welcome = *message.mutable_welcome();
  welcome.set_federation(federation);
  welcome.set_institution(client.value);
  welcome.set_coordinator_version(FEDTUNE_VERSION);
  if (!under_way.has_value()) return message;
  v1::RunsUnderWay& runs = *welcome.mutable_runs_under_way();
  for (const RunId& run : *under_way) runs.add_run_ids(run.value);
  return message;
}

}  // namespace fedtune
