// SPDX-License-Identifier: Apache-2.0

#include "client/round/secure_submission.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "aggregation/masked_vector.h"
#include "base/check.h"
#include "base/fail_point.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "base/usable_cores.h"
#include "client/round/assignment_check.h"
#include "client/round/packed_vector.h"
#include "client/storage/agreed_rounds.h"
#include "plan/secure_session.h"
#include "plan/secure_vector.h"
#include "privacy/secure_aggregation/messages.h"
#include "privacy/secure_aggregation/session_keys.h"

namespace fedtune {
namespace {

// Masking is as fast as memory long before there are more.
constexpr int kMostThreads = 8;

int MaskingThreads() { return std::min(UsableCores(), kMostThreads); }

SecureAttempt AttemptOf(const SecureRoundWork& work) {
  const Assignment& assignment = work.assignment;
  return {.federation = work.material->membership->federation,
          .run = assignment.id.run,
          .round = assignment.id.round,
          .attempt = assignment.id.attempt,
          .factors = assignment.factors,
          .evaluate_only = assignment.evaluate_only,
          .routing = work.material->routing};
}

// A delta where it is, without another copy.
class DeltaOf final : public ValueSource {
 public:
  explicit DeltaOf(std::shared_ptr<const Contribution> contribution)
      : contribution_(std::move(contribution)) {}

  absl::Status Read(int64_t first, std::span<float> values) const override {
    std::copy_n(contribution_->delta.begin() + first, values.size(), values.begin());
    return absl::OkStatus();
  }

 private:
  const std::shared_ptr<const Contribution> contribution_;
};

CountedRound CountedOf(const RunMaterial& material, const LocalMetrics& metrics) {
  const auto example_count = static_cast<int64_t>(material.training.size());
  return {.weight = ContributionWeight(material.plan, example_count),
          .example_count = example_count,
          .training_loss = metrics.training_loss,
          .steps = metrics.steps,
          .token_count = metrics.token_count,
          .before = metrics.before,
          .after = metrics.after,
          .routed_tokens = metrics.routed_tokens};
}

// Of the journal: what will not get better is final, for the administrator.
absl::Status Explained(const absl::Status& status) {
  if (absl::IsResourceExhausted(status))
    return absl::UnavailableError(std::string(Message(status)));
  if (!absl::IsFailedPrecondition(status)) return status;
  return WithAgreedRounds(absl::AbortedError(std::string(Message(status))), AgreedRounds(status));
}

}  // namespace

absl::StatusOr<SessionParameters> ParametersOf(const SecureRoundWork& work) {
  const RunMaterial& material = *work.material;
  RETURN_IF_ERROR(CheckAssignment(work.assignment, material.plan));
  return SecureSessionParameters(material.plan, material.plan_toml, material.layout,
                                 material.membership->roster, AttemptOf(work));
}

absl::Status SecureSubmission::CheckMayTakePart(const SecureRoundWork& work,
                                                SessionJournal& journal) {
  ASSIGN_OR_RETURN(const SessionParameters parameters, ParametersOf(work));
  return Explained(journal.CheckMayTakePart(
      {.id = SessionId(parameters), .run = parameters.run, .round = parameters.round}));
}

absl::StatusOr<SecureSubmission> SecureSubmission::Begin(SecureRoundWork work,
                                                         SessionJournal& journal) {
  ASSIGN_OR_RETURN(SessionParameters parameters, ParametersOf(work));
  absl::StatusOr<SessionJournal::Kept> kept = journal.Begin(
      {.id = SessionId(parameters), .run = parameters.run, .round = parameters.round});
  if (!kept.ok()) return Explained(kept.status());
  return Open(std::move(work), std::move(parameters), *std::move(kept), journal);
}

absl::StatusOr<std::optional<SecureSubmission>> SecureSubmission::Resume(SecureRoundWork work,
                                                                         SessionJournal& journal) {
  ASSIGN_OR_RETURN(SessionParameters parameters, ParametersOf(work));
  absl::StatusOr<std::optional<SessionJournal::Kept>> kept = journal.Find(SessionId(parameters));
  if (!kept.ok()) return Explained(kept.status());
  if (!kept->has_value()) return std::nullopt;
  ASSIGN_OR_RETURN(SecureSubmission submission,
                   Open(std::move(work), std::move(parameters), **std::move(kept), journal));
  return std::optional(std::move(submission));
}

absl::StatusOr<SecureSubmission> SecureSubmission::Open(SecureRoundWork work,
                                                        SessionParameters parameters,
                                                        SessionJournal::Kept kept,
                                                        SessionJournal& journal) {
  const RunMaterial& material = *work.material;
  SecretBytes rounding_key = RoundingKey(kept.round_secret, SessionId(parameters));
  std::optional<SecretBytes> federation_key;
  if (material.membership->federation_key != nullptr) {
    const std::span<const uint8_t> bytes = material.membership->federation_key->Reveal();
    federation_key = SecretBytes({bytes.begin(), bytes.end()});
  }
  ASSIGN_OR_RETURN(
      ClientSession session,
      ClientSession::Resume({.parameters = std::move(parameters),
                             .floor = material.floor,
                             .number = material.membership->number,
                             .key = material.membership->key,
                             .signing_keys = material.membership->signing_keys,
                             .model = TrainedFrom(material.base_digest, work.assignment.adapter),
                             .round_secret = std::move(kept.round_secret),
                             .federation_key = std::move(federation_key)},
                            kept.records));
  return SecureSubmission(std::move(work), journal, std::move(session), std::ssize(kept.records),
                          std::move(rounding_key));
}

SecureSubmission::SecureSubmission(SecureRoundWork work, SessionJournal& journal,
                                   ClientSession session, int64_t stored, SecretBytes rounding_key)
    : work_(std::move(work)),
      journal_(&journal),
      session_(std::move(session)),
      rounding_key_(std::move(rounding_key)),
      stored_(stored) {}

void SecureSubmission::Offer(std::shared_ptr<const Contribution> contribution) {
  if (contribution_ == nullptr) contribution_ = std::move(contribution);
}

absl::Status SecureSubmission::Continue(CoordinatorLink& link, std::stop_token stop) {
  if (!session_.failure().ok()) return GiveUp();
  RETURN_IF_ERROR(Store());
  if (said_.empty()) RETURN_IF_ERROR(Take(session_.Advertise(), said_));
  Say(link);
  return HandInIfDue(link, std::move(stop));
}

absl::Status SecureSubmission::Receive(ByteSpan message, CoordinatorLink& link,
                                       std::stop_token stop) {
  if (!session_.failure().ok()) return GiveUp();
  RETURN_IF_ERROR(Store());
  absl::StatusOr<ClientSession::Step> step = session_.Receive(message);
  const bool answers = step.ok() && !step->message.empty();
  // The input is the answer to the others' shares; it is asked for as long as
  // they are sent.
  if (step.ok() && !answers) input_due_ = !session_.has_agreed();
  RETURN_IF_ERROR(Take(std::move(step), said_));
  if (answers) Say(link);
  if (session_.has_agreed()) {  // The input is not asked for any more.
    contribution_.reset();
    masked_.reset();
  }
  return HandInIfDue(link, std::move(stop));
}

absl::Status SecureSubmission::Take(absl::StatusOr<ClientSession::Step> step, Bytes& message) {
  if (!step.ok()) return GiveUp();
  Check(unstored_.empty(), "one record is stored before the next one is made");
  unstored_ = std::move(step->record);
  if (!step->message.empty()) message = std::move(step->message);
  return Store();
}

absl::Status SecureSubmission::Store() {
  if (unstored_.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(Explained(journal_->Append(id(), stored_, unstored_, session_.has_agreed())));
  ++stored_;
  unstored_.clear();
  return absl::OkStatus();
}

// Not in memory alone: no later process may take it up.
absl::Status SecureSubmission::GiveUp() {
  RETURN_IF_ERROR(Explained(journal_->CloseRun(work_.assignment.id.run)));
  return absl::AbortedError(std::string(Message(session_.failure())));
}

void SecureSubmission::Say(CoordinatorLink& link) const {
  ReachFailPoint(FailPoint::kSecureMessageSend);
  link.Send(SecureMessage{.id = work_.assignment.id, .message = said_});
}

absl::Status SecureSubmission::HandInIfDue(CoordinatorLink& link, std::stop_token stop) {
  if (!input_due_ || contribution_ == nullptr) return absl::OkStatus();
  if (session_.has_agreed()) return absl::OkStatus();
  if (masked_ == nullptr) RETURN_IF_ERROR(MaskInput());
  RETURN_IF_ERROR(link.SubmitMasked(masked_, std::move(stop)));
  input_due_ = false;
  masked_.reset();
  return absl::OkStatus();
}

absl::Status SecureSubmission::MaskInput() {
  const RunMaterial& material = *work_.material;
  const Contribution& contribution = *contribution_;
  ASSIGN_OR_RETURN(const MaskedLayout layout,
                   MaskedLayoutOf(material.plan, material.layout, AttemptOf(work_)));
  ValueRange range;
  range.Add(contribution.delta);
  ASSIGN_OR_RETURN(const MaskedVector vector,
                   MaskedVector::Create(layout,
                                        {.values = std::make_shared<DeltaOf>(contribution_),
                                         .range = range,
                                         .adapter = material.layout,
                                         .factors = contribution.factors},
                                        CountedOf(material, contribution.metrics), rounding_key_));
  ASSIGN_OR_RETURN(PackedVector packed,
                   PackedVector::Create(vector, material.plan.secure.ring, MaskingThreads()));
  Bytes manifest;
  RETURN_IF_ERROR(Fix(packed.Root()));
  const absl::StatusOr<MaskStreams> masks = session_.Masks();
  if (!masks.ok()) return GiveUp();
  packed.Mask(*masks);
  RETURN_IF_ERROR(Take(session_.SignInput(packed.Root()), manifest));
  masked_ = std::make_shared<const MaskedContribution>(
      MaskedContribution{.id = contribution.id,
                         .adapter = contribution.adapter,
                         .layout = contribution.layout,
                         .factors = contribution.factors,
                         .elements = std::move(packed).Take(),
                         .manifest = std::move(manifest)});
  return absl::OkStatus();
}

absl::Status SecureSubmission::Fix(const Digest& input) {
  Bytes nothing;
  absl::Status status = Take(session_.FixInput(input), nothing);
  if (session_.failure().ok()) return status;
  return absl::AbortedError(
      "training gave another delta than before this client was restarted, and two deltas under "
      "the same masks would give both away");
}

}  // namespace fedtune
