// SPDX-License-Identifier: Apache-2.0

#include "client/transport/conversion.h"

#include <utility>

#include "aggregation/adapter_bytes.h"
#include "base/printable_text.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "plan/plan_limits.h"
#include "privacy/secure_aggregation/messages.h"

namespace fedtune {
namespace {

// Names of runs are keys that are kept, and other text goes into the log.
constexpr size_t kLongestRun = 256;
constexpr size_t kLongestText = 2000;

// A proof has at most two hashes for each level of a log of 2^64 entries.
constexpr int kMostHashes = 128;
constexpr size_t kLongestCertificate = 64 << 10;

std::string Text(const std::string& theirs) { return PrintableText(theirs, kLongestText); }

absl::Status Malformed(std::string_view what) {
  return absl::InvalidArgumentError(
      fmt::format("the coordinator sent {}; is it of another version?", what));
}

absl::Status CheckRun(std::string_view run) {
  if (run.empty()) return Malformed("a message without a run");
  if (run.size() > kLongestRun) return Malformed("a run with too long a name");
  return absl::OkStatus();
}

absl::StatusOr<AttemptId> AttemptFromProto(const std::string& run, int64_t round, int64_t attempt) {
  RETURN_IF_ERROR(CheckRun(run));
  if (round < 0 || round > kMostRounds || attempt < 1)
    return Malformed("a round or attempt out of range");
  return AttemptId{.run = run, .round = round, .attempt = attempt};
}

absl::StatusOr<Instruction> FromProto(const v1::RunInvitation& message) {
  RETURN_IF_ERROR(CheckRun(message.run_id()));
  return Invitation{.run = message.run_id(),
                    .plan_toml = message.plan_toml(),
                    .layout_json = message.layout_json(),
                    .base_digest = message.base_digest(),
                    .signing_roster = message.signing_roster()};
}

absl::StatusOr<Instruction> FromProto(const v1::RoundAssignment& message) {
  Assignment assignment;
  ASSIGN_OR_RETURN(assignment.id,
                   AttemptFromProto(message.run_id(), message.round(), message.attempt()));
  const auto adapter = Digest::FromBinary(message.adapter_sha256(), "adapter_sha256");
  if (!adapter.ok()) return Malformed("an adapter digest that is not 32 bytes long");
  assignment.adapter = *adapter;
  if (message.factors() < 1 || message.factors() > 3) return Malformed("unknown factors");
  assignment.factors = static_cast<FactorSet>(message.factors());
  assignment.evaluate = message.evaluate();
  assignment.evaluate_only = message.evaluate_only();
  assignment.time_left = absl::Milliseconds(message.time_left_ms());
  return assignment;
}

absl::StatusOr<Instruction> FromProto(const v1::RoundClosed& message) {
  ASSIGN_OR_RETURN(AttemptId id,
                   AttemptFromProto(message.run_id(), message.round(), message.attempt()));
  return RoundOver{.id = std::move(id), .reason = Text(message.reason())};
}

absl::StatusOr<Instruction> FromProto(const v1::RunPaused& message) {
  RETURN_IF_ERROR(CheckRun(message.run_id()));
  return RunPause{
      .run = message.run_id(), .paused = message.paused(), .reason = Text(message.reason())};
}

absl::StatusOr<Instruction> FromProto(const v1::RunEnded& message) {
  RETURN_IF_ERROR(CheckRun(message.run_id()));
  return RunOver{
      .run = message.run_id(), .state = Text(message.state()), .reason = Text(message.reason())};
}

absl::StatusOr<Instruction> FromProto(const v1::SecureAggregationMessage& message) {
  ASSIGN_OR_RETURN(AttemptId id,
                   AttemptFromProto(message.run_id(), message.round(), message.attempt()));
  const std::string& bytes = message.message();
  if (bytes.empty() || bytes.size() > kLargestMessage) {
    return Malformed("a message of a secure aggregation that is empty or too long");
  }
  return SecureMessage{.id = std::move(id), .message = Bytes(bytes.begin(), bytes.end())};
}

absl::StatusOr<std::vector<Digest>> HashesFromProto(
    const google::protobuf::RepeatedPtrField<std::string>& hashes) {
  if (hashes.size() > kMostHashes) return Malformed("a proof of its log with too many hashes");
  std::vector<Digest> digests;
  for (const std::string& hash : hashes) {
    const absl::StatusOr<Digest> digest = Digest::FromBinary(hash, "hash");
    if (!digest.ok()) return Malformed("a hash of its log that is not 32 bytes long");
    digests.push_back(*digest);
  }
  return digests;
}

v1::Progress::Phase PhaseToProto(WorkPhase phase) {
  switch (phase) {
    case WorkPhase::kDownloading:
      return v1::Progress::PHASE_DOWNLOADING;
    case WorkPhase::kEvaluating:
      return v1::Progress::PHASE_EVALUATING;
    case WorkPhase::kTraining:
      return v1::Progress::PHASE_TRAINING;
    case WorkPhase::kUploading:
      return v1::Progress::PHASE_UPLOADING;
    case WorkPhase::kWaiting:
      return v1::Progress::PHASE_WAITING;
  }
  return v1::Progress::PHASE_UNSPECIFIED;
}

void Fill(const InvitationAnswer& answer, v1::ClientMessage& message) {
  v1::RunDecision& decision = *message.mutable_run_decision();
  decision.set_run_id(answer.run);
  decision.set_accepted(answer.accepted);
  decision.set_reason(answer.reason);
  decision.set_example_count(answer.example_count);
  decision.set_refuses_log(answer.refuses_log);
}

template <typename Message>
void FillAttempt(const AttemptId& id, Message& message) {
  message.set_run_id(id.run);
  message.set_round(id.round);
  message.set_attempt(id.attempt);
}

void Fill(const WorkProgress& progress, v1::ClientMessage& message) {
  v1::Progress& filled = *message.mutable_progress();
  FillAttempt(progress.id, filled);
  filled.set_phase(PhaseToProto(progress.phase));
  filled.set_fraction(progress.fraction);
  filled.set_tokens_per_second(progress.tokens_per_second);
  filled.set_note(progress.note);
}

void Fill(const AttemptFailed& failed, v1::ClientMessage& message) {
  v1::RoundFailure& failure = *message.mutable_round_failure();
  FillAttempt(failed.id, failure);
  failure.set_reason(failed.reason);
  failure.set_agreed_rounds(failed.agreed_rounds);
}

void Fill(const SecureMessage& secure, v1::ClientMessage& message) {
  v1::SecureAggregationMessage& filled = *message.mutable_secure_aggregation();
  FillAttempt(secure.id, filled);
  filled.set_message(secure.message.data(), secure.message.size());
}

void Fill(const EvaluationResult& evaluation, v1::EvaluationResult& result) {
  result.set_loss(evaluation.loss);
  if (evaluation.accuracy) result.set_accuracy(*evaluation.accuracy);
  result.set_example_count(evaluation.example_count);
}

void Fill(const LocalMetrics& metrics, v1::ClientMetrics& filled) {
  filled.set_training_loss(metrics.training_loss);
  filled.set_steps(metrics.steps);
  filled.set_token_count(metrics.token_count);
  filled.set_training_seconds(absl::ToDoubleSeconds(metrics.training_time));
  filled.mutable_routed_tokens()->Add(metrics.routed_tokens.begin(), metrics.routed_tokens.end());
  if (metrics.before) Fill(*metrics.before, *filled.mutable_before());
  if (metrics.after) Fill(*metrics.after, *filled.mutable_after());
}

// What plain and masked contributions say alike, of so many bytes that follow.
template <typename Contributed>
v1::ContributionHeader HeadOf(const Contributed& contribution, size_t size, const Digest& name) {
  v1::ContributionHeader header;
  FillAttempt(contribution.id, header);
  header.set_adapter_sha256(contribution.adapter.ToBinary());
  header.set_layout_sha256(contribution.layout.ToBinary());
  header.set_factors(static_cast<uint32_t>(contribution.factors));
  header.set_size_bytes(size);
  header.set_sha256(name.ToBinary());
  return header;
}

}  // namespace

absl::StatusOr<Instruction> InstructionFromProto(const v1::CoordinatorMessage& message) {
  switch (message.message_case()) {
    case v1::CoordinatorMessage::kRunInvitation:
      return FromProto(message.run_invitation());
    case v1::CoordinatorMessage::kRoundAssignment:
      return FromProto(message.round_assignment());
    case v1::CoordinatorMessage::kRoundClosed:
      return FromProto(message.round_closed());
    case v1::CoordinatorMessage::kRunPaused:
      return FromProto(message.run_paused());
    case v1::CoordinatorMessage::kRunEnded:
      return FromProto(message.run_ended());
    case v1::CoordinatorMessage::kSecureAggregation:
      return FromProto(message.secure_aggregation());
    default:
      return Malformed("a message of an unknown kind");
  }
}

Welcome WelcomeFromProto(const v1::Welcome& message) {
  Welcome welcome{.federation = Text(message.federation()),
                  .institution = Text(message.institution()),
                  .coordinator_version = Text(message.coordinator_version())};
  if (!message.has_runs_under_way()) return welcome;
  const auto& runs = message.runs_under_way().run_ids();
  welcome.runs_under_way.emplace(runs.begin(), runs.end());
  return welcome;
}

v1::ClientMessage GreetingToProto(const Greeting& greeting) {
  v1::ClientMessage message;
  v1::Hello& hello = *message.mutable_hello();
  hello.set_client_version(greeting.client_version);
  v1::Device& device = *hello.mutable_device();
  device.set_kind(greeting.device.kind);
  device.set_name(greeting.device.name);
  device.set_memory_bytes(greeting.device.memory_bytes);
  device.set_threads(greeting.device.threads);
  for (const DatasetSize& dataset : greeting.datasets) {
    v1::DatasetSummary& summary = *hello.add_datasets();
    summary.set_name(dataset.name);
    summary.set_example_count(dataset.example_count);
  }
  return message;
}

v1::ClientMessage ReplyToProto(const Reply& reply) {
  v1::ClientMessage message;
  std::visit([&](const auto& known) { Fill(known, message); }, reply);
  return message;
}

v1::ContributionHeader HeaderToProto(const Contribution& contribution) {
  const std::string_view bytes = ValueBytes(contribution.delta);
  v1::ContributionHeader header = HeadOf(contribution, bytes.size(), Sha256Of(bytes));
  Fill(contribution.metrics, *header.mutable_metrics());
  return header;
}

v1::ContributionHeader HeaderToProto(const MaskedContribution& contribution) {
  v1::ContributionHeader header =
      HeadOf(contribution, contribution.elements.size(), Sha256Of(ByteSpan(contribution.manifest)));
  header.set_input_manifest(contribution.manifest.data(), contribution.manifest.size());
  return header;
}

v1::ProveLogRequest QuestionToProto(const LogQuestion& question) {
  v1::ProveLogRequest message;
  message.set_seen_size(question.seen_size);
  message.set_run_id(question.run);
  message.set_round(question.round);
  message.set_attempt(question.attempt);
  return message;
}

absl::StatusOr<LogProof> LogProofFromProto(const v1::ProveLogResponse& message) {
  const v1::LogCheckpoint& checkpoint = message.checkpoint();
  if (checkpoint.note().size() > kLongestCheckpoint) {
    return Malformed("too long a checkpoint of its log");
  }
  if (checkpoint.certificate_pem().size() > kLongestCertificate) {
    return Malformed("too long a certificate with its log");
  }
  if (message.entry().size() > kLongestLogEntry) return Malformed("too long an entry of its log");
  LogProof proof{
      .checkpoint = {.note = checkpoint.note(), .certificate_pem = checkpoint.certificate_pem()},
      .consistency = {},
      .entry = message.entry(),
      .index = message.index(),
      .inclusion = {}};
  ASSIGN_OR_RETURN(proof.consistency, HashesFromProto(message.consistency()));
  ASSIGN_OR_RETURN(proof.inclusion, HashesFromProto(message.inclusion()));
  return proof;
}

}  // namespace fedtune
