// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/client_session.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/secure_aggregation/statements.h"

namespace fedtune {
namespace {

constexpr size_t kLargestRecord = 2 * kLargestMessage + 16;

absl::Status CheckFloor(const SessionParameters& parameters, const CohortFloor& floor) {
  if (parameters.min_cohort < floor.min_cohort) {
    return absl::FailedPreconditionError(
        fmt::format("the plan releases sums over {} institutions, this one's policy asks for {}",
                    parameters.min_cohort, floor.min_cohort));
  }
  if (parameters.assumed_corrupt < floor.assumed_corrupt) {
    return absl::FailedPreconditionError(fmt::format(
        "the plan assumes {} institutions on a lying coordinator's side, this one's policy {}",
        parameters.assumed_corrupt, floor.assumed_corrupt));
  }
  return absl::OkStatus();
}

}  // namespace

ClientSession::ClientSession(Options options)
    : options_(std::move(options)), id_(SessionId(options_.parameters)) {
  secrets_.emplace(options_.round_secret, id_, options_.parameters.suite);
  if (options_.federation_key.has_value()) {
    mask_salt_ = MaskSaltOf(*options_.federation_key, id_);
  }
}

absl::StatusOr<ClientSession> ClientSession::Create(Options options) {
  Check(options.key != nullptr && options.round_secret.size() == 32,
        "a session has a signing key and a secret");
  RETURN_IF_ERROR(CheckSessionParameters(options.parameters));
  RETURN_IF_ERROR(CheckFloor(options.parameters, options.floor));
  const auto own = options.signing_keys.find(options.number);
  if (options.key->suite() != options.parameters.suite || own == options.signing_keys.end() ||
      own->second != options.key->public_key()) {
    return absl::InvalidArgumentError(
        "this institution's signing key is not the one that the signing roster has for it, or not "
        "of the plan's suite");
  }
  return ClientSession(std::move(options));
}

absl::StatusOr<ClientSession> ClientSession::Resume(Options options,
                                                    std::span<const Bytes> records) {
  ASSIGN_OR_RETURN(ClientSession session, Create(std::move(options)));
  for (const Bytes& record : records) {
    const absl::Status replayed = session.Replay(record);
    if (!replayed.ok()) {
      return absl::DataLossError(
          fmt::format("the stored records of secure aggregation {} are not "
                      "its own: {}",
                      session.id_.ToHex().substr(0, 12), Message(replayed)));
    }
  }
  return session;
}

absl::Status ClientSession::Replay(ByteSpan record) {
  CanonicalReader reader(record);
  const auto stage = static_cast<Stage>(reader.U8());
  const Bytes request = reader.Sized(kLargestRecord);
  const Bytes message = reader.Sized(kLargestRecord);
  (void)reader.ReadDigest();
  RETURN_IF_ERROR(reader.Finish("a record"));
  if (!std::ranges::equal(RecordOf(stage, request, message), record)) {
    return absl::DataLossError("a record is damaged, or does not follow the one before it");
  }
  if (stage == Stage::kNew || stage > Stage::kUnmasked ||
      static_cast<int>(stage) != static_cast<int>(stage_) + 1) {
    return absl::DataLossError("a record is missing or out of order");
  }
  if (stage == Stage::kAdvertised) {
    ASSIGN_OR_RETURN(advertisement_, DecodeAdvertisement(message));
    Advertisement own = OwnAdvertisement();
    own.signature = advertisement_.signature;  // On P-256 each signature is another.
    if (Encode(own) != message) {
      return absl::DataLossError("it advertised other keys or another model");
    }
  } else if (stage != Stage::kInputFixed && stage != Stage::kInputSigned) {
    RETURN_IF_ERROR(Answer(request, stage).status());
  }
  Take(stage, request, message);
  return absl::OkStatus();
}

absl::Status ClientSession::GiveUp(absl::Status why) {
  if (failure_.ok()) failure_ = why;
  secrets_.reset();
  peers_.clear();
  return why;
}

// With a digest over it and the records before it, which tells damage and records
// of another session.
Bytes ClientSession::RecordOf(Stage stage, ByteSpan request, ByteSpan message) const {
  CanonicalWriter record;
  record.U8(static_cast<uint8_t>(stage)).Sized(request).Sized(message);
  CanonicalWriter digested;
  digested.Sized("ffl/v1/record").Fixed(id_).U32(options_.number).Fixed(last_record_);
  digested.Fixed(record.bytes());
  record.Fixed(Sha256Of(ByteSpan(digested.bytes())));
  return std::move(record).Take();
}

ClientSession::Step ClientSession::Take(Stage stage, ByteSpan request, Bytes message) {
  stage_ = stage;
  Step step{RecordOf(stage, request, message), std::move(message)};
  last_record_ = Sha256Of(ByteSpan(step.record));
  answered_[stage] = {Sha256Of(request), step.message};
  return step;
}

absl::StatusOr<ClientSession::Step> ClientSession::Repeat(Stage stage, ByteSpan request) {
  const Answered& answered = answered_.at(stage);
  // Whose signatures prove the agreement makes no difference to the answer: a
  // coordinator that was started again may have collected others.
  if (answered.request == Sha256Of(request) ||
      (stage == Stage::kUnmasked && CheckAgreementProof(request).ok())) {
    return Step{{}, answered.message};
  }
  return GiveUp(absl::FailedPreconditionError(
      "the coordinator tells two stories: a message differs from the one that was answered"));
}

absl::StatusOr<ClientSession::Step> ClientSession::Advertise() {
  RETURN_IF_ERROR(failure_);
  if (stage_ != Stage::kNew) return Repeat(Stage::kAdvertised, {});
  advertisement_ = OwnAdvertisement();
  return Take(Stage::kAdvertised, {}, Encode(advertisement_));
}

absl::StatusOr<ClientSession::Step> ClientSession::Receive(ByteSpan message) {
  RETURN_IF_ERROR(failure_);
  const absl::StatusOr<MessageKind> kind = KindOf(message);
  if (!kind.ok()) return GiveUp(kind.status());
  static const std::map<MessageKind, Stage> kLeadsTo = {
      {MessageKind::kKeyDirectory, Stage::kShared},
      {MessageKind::kSharesForYou, Stage::kMasking},
      {MessageKind::kSurvivors, Stage::kAgreed},
      {MessageKind::kAgreementProof, Stage::kUnmasked}};
  const auto found = kLeadsTo.find(*kind);
  if (found == kLeadsTo.end()) {
    return GiveUp(absl::InvalidArgumentError("the coordinator sent a client's message"));
  }
  const Stage stage = found->second;
  if (stage_ >= stage) return Repeat(stage, message);
  if (static_cast<int>(stage_) + 1 != static_cast<int>(stage)) {
    return GiveUp(absl::FailedPreconditionError(
        fmt::format("message {} came before what must precede it", static_cast<int>(*kind))));
  }
  absl::StatusOr<Bytes> answer = Answer(message, stage);
  if (!answer.ok()) return GiveUp(answer.status());
  return Take(stage, message, *std::move(answer));
}

absl::StatusOr<Bytes> ClientSession::Answer(ByteSpan message, Stage stage) {
  switch (stage) {
    case Stage::kShared: {
      ASSIGN_OR_RETURN(const KeyDirectory decoded, DecodeKeyDirectory(message));
      return OnKeyDirectory(decoded);
    }
    case Stage::kMasking: {
      ASSIGN_OR_RETURN(const SharesForYou decoded, DecodeSharesForYou(message));
      return OnSharesForYou(decoded);
    }
    case Stage::kAgreed: {
      ASSIGN_OR_RETURN(const Survivors decoded, DecodeSurvivors(message));
      return OnSurvivors(decoded);
    }
    case Stage::kUnmasked:
      RETURN_IF_ERROR(CheckAgreementProof(message));
      return SharesForUnmasking();
    default:
      return absl::InternalError("no message leads there");
  }
}

absl::StatusOr<ClientSession::Step> ClientSession::FixInput(const Digest& input) {
  RETURN_IF_ERROR(failure_);
  Check(stage_ >= Stage::kMasking, "an input is fixed when the others' shares have come");
  if (stage_ != Stage::kMasking) return Repeat(Stage::kInputFixed, input.bytes);
  return Take(Stage::kInputFixed, input.bytes, {});
}

absl::StatusOr<ClientSession::Step> ClientSession::SignInput(const Digest& chunk_root) {
  RETURN_IF_ERROR(failure_);
  Check(stage_ >= Stage::kInputFixed, "an input is signed when it is fixed");
  if (stage_ != Stage::kInputFixed) return Repeat(Stage::kInputSigned, chunk_root.bytes);
  const Bytes statement = InputStatement(id_, sharers_hash_, options_.number, chunk_root);
  return Take(Stage::kInputSigned, chunk_root.bytes,
              Encode(InputManifest{chunk_root, options_.key->Sign(statement)}));
}

absl::StatusOr<MaskStreams> ClientSession::Masks() const {
  RETURN_IF_ERROR(failure_);
  Check(stage_ >= Stage::kInputFixed, "masks are for an input that is fixed");
  MaskStreams masks(options_.parameters.ring);
  masks.Add(SelfMaskKey(id_, secrets_->self_mask_seed()), MaskSign::kAdd);
  for (const Peer& peer : peers_) {
    if (peer.place == own_place_ || !sharers_.Contains(peer.place)) continue;
    ASSIGN_OR_RETURN(const SecretBytes agreed, secrets_->mask_key().Agree(peer.mask_key));
    masks.Add(PairMaskKey(id_, mask_salt_, agreed, options_.number, peer.number),
              peer.number > options_.number ? MaskSign::kAdd : MaskSign::kSubtract);
  }
  return masks;
}

}  // namespace fedtune
