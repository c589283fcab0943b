// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/coordinator_session.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/agreement_key.h"
#include "privacy/crypto/signing_key.h"
#include "privacy/secure_aggregation/session_keys.h"
#include "privacy/secure_aggregation/statements.h"

namespace fedtune {
namespace {

using Phase = CoordinatorSession::Phase;

// The client's answer that ends its part in a phase.
MessageKind AnswerIn(Phase phase) {
  switch (phase) {
    case Phase::kAdvertising:
      return MessageKind::kAdvertisement;
    case Phase::kSharing:
      return MessageKind::kShares;
    case Phase::kCollecting:
      return MessageKind::kInputManifest;
    case Phase::kAgreeing:
      return MessageKind::kAgreement;
    default:
      return MessageKind::kUnmaskShares;
  }
}

bool HaveKeyInCommon(const Advertisement& one, const Advertisement& other) {
  return one.share_key == other.share_key || one.share_key == other.mask_key ||
         one.mask_key == other.share_key || one.mask_key == other.mask_key;
}

}  // namespace

CoordinatorSession::CoordinatorSession(Options options)
    : options_(std::move(options)), id_(SessionId(options_.parameters)) {
  for (const uint32_t number : options_.cohort) members_[number].number = number;
}

absl::StatusOr<CoordinatorSession> CoordinatorSession::Create(Options options) {
  RETURN_IF_ERROR(CheckSessionParameters(options.parameters));
  for (const uint32_t number : options.cohort) {
    if (!options.signing_keys.contains(number)) {
      return absl::FailedPreconditionError(fmt::format(
          "number {} has no signing key of the plan's suite on the signing roster", number));
    }
  }
  // Whether a sparse graph fits is seen when its root is known.
  RETURN_IF_ERROR(
      ShapeOf(options.parameters, static_cast<int>(options.cohort.size()), Digest()).status());
  return CoordinatorSession(std::move(options));
}

// ---- Taking messages ----

bool CoordinatorSession::Expects(MessageKind kind) const {
  if (phase_ == Phase::kDone || phase_ == Phase::kFailed) return false;
  // A client that is late with its agreement still helps to unmask.
  if (phase_ == Phase::kUnmasking && kind == MessageKind::kAgreement) return true;
  return kind == AnswerIn(phase_);
}

bool CoordinatorSession::Includes(uint32_t number) const {
  const auto found = members_.find(number);
  return found != members_.end() && !found->second.dropped;
}

absl::StatusOr<bool> CoordinatorSession::IsAnswer(uint32_t from, MessageKind kind,
                                                  const Digest& message) const {
  if (!Includes(from)) {
    return absl::PermissionDeniedError(
        fmt::format("number {} is not, or no longer, part of this secure aggregation", from));
  }
  const Member& member = members_.at(from);
  const auto answered = member.answered.find(kind);
  if (answered != member.answered.end()) {
    if (answered->second == message) return false;
    return absl::AlreadyExistsError(fmt::format("number {} has answered otherwise before", from));
  }
  if (!Expects(kind)) {
    return absl::FailedPreconditionError(
        fmt::format("message {} does not belong to the current phase", static_cast<int>(kind)));
  }
  const int place = PlaceOf(from);
  const bool counts = phase_ == Phase::kAdvertising || (phase_ == Phase::kSharing && place >= 0) ||
                      (phase_ == Phase::kCollecting && place >= 0 && sharers_.Contains(place)) ||
                      (phase_ > Phase::kCollecting && place >= 0 && survivors_.Contains(place));
  if (!counts) {
    return absl::PermissionDeniedError(fmt::format("number {} was late in an earlier phase", from));
  }
  return true;
}

bool CoordinatorSession::Hears(uint32_t from, ByteSpan message) const {
  const MessageKind kind = KindOf(message).value_or(AnswerIn(phase_));
  return IsAnswer(from, kind, Sha256Of(message)).value_or(false);
}

absl::Status CoordinatorSession::Receive(uint32_t from, ByteSpan message) {
  const absl::StatusOr<MessageKind> kind = KindOf(message);
  const Digest digest = Sha256Of(message);
  ASSIGN_OR_RETURN(const bool is_answer, IsAnswer(from, kind.value_or(AnswerIn(phase_)), digest));
  if (!is_answer) return absl::OkStatus();
  Member& member = members_.at(from);
  absl::Status accepted = kind.ok() ? Accept(member, *kind, message) : kind.status();
  if (!accepted.ok()) {
    Blame(from, std::string(Message(accepted)));
    return accepted;
  }
  member.answered[*kind] = digest;
  return absl::OkStatus();
}

absl::Status CoordinatorSession::Accept(Member& member, MessageKind kind, ByteSpan message) {
  const auto decode_and_accept = [&](auto decoded) -> absl::Status {
    RETURN_IF_ERROR(decoded.status());
    return Accept(member, *std::move(decoded));
  };
  switch (kind) {
    case MessageKind::kAdvertisement:
      return decode_and_accept(DecodeAdvertisement(message));
    case MessageKind::kShares:
      return decode_and_accept(DecodeShares(message));
    case MessageKind::kInputManifest:
      return decode_and_accept(DecodeInputManifest(message));
    case MessageKind::kAgreement:
      return decode_and_accept(DecodeAgreement(message));
    default:
      return decode_and_accept(DecodeUnmaskShares(message));
  }
}

absl::Status CoordinatorSession::CheckSignature(const Member& member, ByteSpan statement,
                                                ByteSpan signature) const {
  if (VerifySignature(options_.parameters.suite, options_.signing_keys.at(member.number), statement,
                      signature)
          .ok()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "its signature is not its own for this plan, base model, round and roster");
}

// So that no client trips over another one's keys later.
absl::Status CoordinatorSession::CheckKeysWork(const Advertisement& message) const {
  const AgreementKey probe =
      AgreementKey::FromSeed(options_.parameters.suite, SecretBytes(Bytes(32, 0x42)));
  RETURN_IF_ERROR(probe.Agree(message.share_key).status());
  RETURN_IF_ERROR(probe.Agree(message.mask_key).status());
  for (const auto& [number, other] : members_) {
    if (!other.advertisement.has_value() || !HaveKeyInCommon(*other.advertisement, message)) {
      continue;
    }
    return absl::InvalidArgumentError(fmt::format("one of its keys is a key of number {}", number));
  }
  return absl::OkStatus();
}

absl::Status CoordinatorSession::Accept(Member& member, Advertisement message) {
  if (message.number != member.number) {
    return absl::InvalidArgumentError("it advertises keys for somebody else");
  }
  RETURN_IF_ERROR(CheckSignature(member, AdvertisementStatement(id_, message), message.signature));
  if (message.model != options_.model) {
    return absl::InvalidArgumentError("it trained from another model");
  }
  if (message.share_key == message.mask_key) {
    return absl::InvalidArgumentError("its two keys are the same");
  }
  RETURN_IF_ERROR(CheckKeysWork(message));
  member.advertisement = std::move(message);
  return absl::OkStatus();
}

absl::Status CoordinatorSession::Accept(Member& member, Shares message) {
  const size_t neighbours = shape_->graph.ClosedNeighborhood(PlaceOf(member.number)).size() - 1;
  if (message.sealed.size() != neighbours) {
    return absl::InvalidArgumentError(fmt::format("it sealed shares for {} clients instead of {}",
                                                  message.sealed.size(), neighbours));
  }
  RETURN_IF_ERROR(CheckSignature(member,
                                 SharesStatement(id_, root_, member.number, message.seed_commitment,
                                                 HashOfSealed(message.sealed)),
                                 message.signature));
  member.shares = std::move(message);
  return absl::OkStatus();
}

absl::Status CoordinatorSession::CheckManifest(const Member& member,
                                               const InputManifest& message) const {
  return CheckSignature(member,
                        InputStatement(id_, sharers_hash_, member.number, message.chunk_root),
                        message.signature);
}

absl::StatusOr<Digest> CoordinatorSession::CheckInput(uint32_t from, ByteSpan message) const {
  ASSIGN_OR_RETURN(const InputManifest manifest, DecodeInputManifest(message));
  const auto found = members_.find(from);
  if (phase_ != Phase::kCollecting || found == members_.end() || found->second.dropped ||
      PlaceOf(from) < 0 || !sharers_.Contains(PlaceOf(from))) {
    return absl::FailedPreconditionError("no masked input is awaited from this client");
  }
  if (found->second.manifest.has_value()) {
    return absl::AlreadyExistsError("this client's masked input is kept already");
  }
  RETURN_IF_ERROR(CheckManifest(found->second, manifest));
  return manifest.chunk_root;
}

absl::Status CoordinatorSession::Accept(Member& member, InputManifest message) {
  RETURN_IF_ERROR(CheckManifest(member, message));
  member.manifest = std::move(message);
  return absl::OkStatus();
}

absl::Status CoordinatorSession::Accept(Member& member, Agreement message) {
  RETURN_IF_ERROR(CheckSignature(member, AgreementStatement(id_, member.number, survivors_hash_),
                                 message.signature));
  member.agreement = std::move(message);
  return absl::OkStatus();
}

absl::Status CoordinatorSession::Accept(Member& member, UnmaskShares message) {
  int sharers = 0;
  bool anyone_dropped = false;
  for (const int place : shape_->graph.ClosedNeighborhood(PlaceOf(member.number))) {
    if (!sharers_.Contains(place)) continue;
    ++sharers;
    anyone_dropped = anyone_dropped || !survivors_.Contains(place);
  }
  if (std::ssize(message.shares) != sharers) {
    return absl::InvalidArgumentError(fmt::format("it gave {} shares for unmasking instead of {}",
                                                  message.shares.size(), sharers));
  }
  const Digest& committed = member.advertisement->mask_salt_check;
  if (message.mask_salt.has_value() != (anyone_dropped && committed != Digest())) {
    return absl::InvalidArgumentError(
        "its part of the federation key goes with shares of dropped clients, and only with them");
  }
  if (message.mask_salt.has_value() && CommitToMaskSalt(id_, *message.mask_salt) != committed) {
    return absl::InvalidArgumentError("its federation key is not what it committed to");
  }
  member.unmask = std::move(message);
  return absl::OkStatus();
}

void CoordinatorSession::Drop(uint32_t number) {
  const auto found = members_.find(number);
  if (found != members_.end()) found->second.dropped = true;
}

void CoordinatorSession::Blame(uint32_t number, std::string what) {
  faults_.push_back({number, std::move(what)});
  Drop(number);
}

}  // namespace fedtune
