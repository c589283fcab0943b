// SPDX-License-Identifier: Apache-2.0

// What a client checks in each of the coordinator's messages, and its answers;
// client_session.cpp keeps the order.

#include <algorithm>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/aead.h"
#include "privacy/crypto/merkle_tree.h"
#include "privacy/secure_aggregation/client_session.h"
#include "privacy/secure_aggregation/shamir.h"
#include "privacy/secure_aggregation/statements.h"

namespace fedtune {
namespace {

absl::Status False(std::string_view what) {
  return absl::InvalidArgumentError(fmt::format("the coordinator's message is false: {}", what));
}

absl::Status TooFew(std::string_view what, int have, int need) {
  return absl::FailedPreconditionError(fmt::format("{} {}, {} are needed", have, what, need));
}

Digest LeafOf(const Advertisement& advertisement) { return MerkleLeaf(Encode(advertisement)); }

SecretBytes PartOf(const SecretBytes& secret, size_t first, size_t size) {
  const std::span<const uint8_t> part = secret.Reveal().subspan(first, size);
  return SecretBytes(Bytes(part.begin(), part.end()));
}

SecretBytes CopyOf(const SecretBytes& secret) { return PartOf(secret, 0, secret.size()); }

SecretBytes Joined(const SecretBytes& first, const SecretBytes& second) {
  Bytes bytes;
  bytes.reserve(first.size() + second.size());
  bytes.insert(bytes.end(), first.Reveal().begin(), first.Reveal().end());
  bytes.insert(bytes.end(), second.Reveal().begin(), second.Reveal().end());
  return SecretBytes(std::move(bytes));
}

}  // namespace

const Bytes* ClientSession::SigningKeyOf(uint32_t number) const {
  const auto found = options_.signing_keys.find(number);
  return found == options_.signing_keys.end() ? nullptr : &found->second;
}

const ClientSession::Peer& ClientSession::Self() const {
  const auto found = std::find_if(peers_.begin(), peers_.end(),
                                  [this](const Peer& peer) { return peer.place == own_place_; });
  Check(found != peers_.end(), "a client is in its own closed neighbourhood");
  return *found;
}

Advertisement ClientSession::OwnAdvertisement() const {
  Advertisement own;
  own.number = options_.number;
  own.share_key = secrets_->share_key().public_key();
  own.mask_key = secrets_->mask_key().public_key();
  own.nonce = secrets_->nonce();
  own.model = options_.model;
  if (mask_salt_.has_value()) own.mask_salt_check = CommitToMaskSalt(id_, *mask_salt_);
  own.signature = options_.key->Sign(AdvertisementStatement(id_, own));
  return own;
}

// ---- The key directory ----

absl::Status ClientSession::CheckEntry(const Advertisement& entry) const {
  const Bytes* key = SigningKeyOf(entry.number);
  if (key == nullptr) {
    return False(fmt::format("number {} is not on the signing roster", entry.number));
  }
  if (!VerifySignature(options_.parameters.suite, *key, AdvertisementStatement(id_, entry),
                       entry.signature)
           .ok()) {
    return False(fmt::format(
        "the keys of number {} are not signed by it for this plan, base model, round and roster",
        entry.number));
  }
  if (entry.model != options_.model) {
    return False(fmt::format("number {} was given another model to train from", entry.number));
  }
  if (entry.mask_salt_check != advertisement_.mask_salt_check) {
    return absl::FailedPreconditionError(
        fmt::format("number {} has another federation key than this institution", entry.number));
  }
  return absl::OkStatus();
}

absl::Status ClientSession::CheckEntries(const KeyDirectory& directory) const {
  std::set<Bytes> keys;
  const KeyDirectory::Entry* before = nullptr;
  for (const KeyDirectory::Entry& entry : directory.entries) {
    const Advertisement& advertisement = entry.advertisement;
    if (before != nullptr &&
        (before->place >= entry.place || before->advertisement.number >= advertisement.number)) {
      return False("clients are listed twice or out of order");
    }
    before = &entry;
    if (!keys.insert(advertisement.share_key).second ||
        !keys.insert(advertisement.mask_key).second) {
      return False("two clients have the same key");
    }
    RETURN_IF_ERROR(CheckEntry(advertisement));
  }
  return absl::OkStatus();
}

// That the clients listed are exactly those that the graph makes neighbours, at
// the places that the root says.
absl::Status ClientSession::CheckPlaces(const KeyDirectory& directory, size_t own) const {
  const int own_place = static_cast<int>(directory.entries[own].place);
  const std::span<const int> expected = shape_->graph.ClosedNeighborhood(own_place);
  if (!std::equal(expected.begin(), expected.end(), directory.entries.begin(),
                  directory.entries.end(), [](int place, const KeyDirectory::Entry& entry) {
                    return place == static_cast<int>(entry.place);
                  })) {
    return False("the clients listed are not this client's neighbours");
  }
  if (directory.entries.size() == directory.client_count) {
    std::vector<Digest> leaves;
    for (const auto& entry : directory.entries) leaves.push_back(LeafOf(entry.advertisement));
    return MerkleRoot(leaves) == directory.root ? absl::OkStatus() : False("the root is another");
  }
  for (const KeyDirectory::Entry& entry : directory.entries) {
    RETURN_IF_ERROR(CheckMerkleProof(LeafOf(entry.advertisement), entry.place,
                                     directory.client_count, entry.proof, directory.root));
  }
  return absl::OkStatus();
}

absl::StatusOr<Bytes> ClientSession::OnKeyDirectory(const KeyDirectory& directory) {
  if (directory.client_count > options_.signing_keys.size()) {
    return False("there are more clients than the signing roster has");
  }
  const auto own = std::find_if(directory.entries.begin(), directory.entries.end(),
                                [this](const KeyDirectory::Entry& entry) {
                                  return entry.advertisement.number == options_.number;
                                });
  if (own == directory.entries.end() || Encode(own->advertisement) != Encode(advertisement_) ||
      own->place >= directory.client_count) {
    return False(
        "this client's own keys are not as it sent them; does a second client run with its key?");
  }
  ASSIGN_OR_RETURN(shape_, ShapeOf(options_.parameters, static_cast<int>(directory.client_count),
                                   directory.root));
  RETURN_IF_ERROR(CheckEntries(directory));
  RETURN_IF_ERROR(CheckPlaces(directory, static_cast<size_t>(own - directory.entries.begin())));
  root_ = directory.root;
  own_place_ = static_cast<int>(own->place);
  for (const KeyDirectory::Entry& entry : directory.entries) {
    peers_.push_back({.place = static_cast<int>(entry.place),
                      .number = entry.advertisement.number,
                      .share_key = entry.advertisement.share_key,
                      .mask_key = entry.advertisement.mask_key});
  }
  return ShareSecrets();
}

absl::StatusOr<Bytes> ClientSession::ShareSecrets() {
  const int count = static_cast<int>(peers_.size());
  std::vector<SecretBytes> seed_shares = SplitSecret(secrets_->self_mask_seed(), shape_->threshold,
                                                     count, secrets_->self_mask_coefficients());
  std::vector<SecretBytes> key_shares = SplitSecret(secrets_->mask_key_seed(), shape_->threshold,
                                                    count, secrets_->mask_key_coefficients());
  Shares message;
  message.seed_commitment = CommitToSeed(id_, options_.number, secrets_->self_mask_seed());
  for (size_t i = 0; i < peers_.size(); ++i) {
    Peer& peer = peers_[i];
    if (peer.place == own_place_) {
      peer.seed_commitment = message.seed_commitment;
      peer.self_mask_share = std::move(seed_shares[i]);
      peer.mask_key_share = std::move(key_shares[i]);
      continue;
    }
    ASSIGN_OR_RETURN(const SecretBytes agreed, secrets_->share_key().Agree(peer.share_key));
    message.sealed.push_back(SealOnce(
        ShareSealingKey(id_, options_.federation_key, agreed, options_.number, peer.number),
        ShareContext(id_, options_.number, peer.number, message.seed_commitment),
        Joined(seed_shares[i], key_shares[i]).Reveal()));
  }
  message.signature = options_.key->Sign(SharesStatement(
      id_, root_, options_.number, message.seed_commitment, HashOfSealed(message.sealed)));
  return Encode(message);
}

// ---- The others' shares ----

absl::Status ClientSession::TakeShares(Peer& peer, const SharesForYou::Entry& entry) {
  const Bytes statement =
      SharesStatement(id_, root_, peer.number, entry.seed_commitment, entry.all_sealed);
  if (!VerifySignature(options_.parameters.suite, *SigningKeyOf(peer.number), statement,
                       entry.signature)
           .ok()) {
    return False(fmt::format("the shares of number {} are not signed by it", peer.number));
  }
  peer.seed_commitment = entry.seed_commitment;
  ASSIGN_OR_RETURN(const SecretBytes agreed, secrets_->share_key().Agree(peer.share_key));
  const absl::StatusOr<SecretBytes> opened = OpenOnce(
      ShareSealingKey(id_, options_.federation_key, agreed, peer.number, options_.number),
      ShareContext(id_, peer.number, options_.number, entry.seed_commitment), entry.sealed);
  // Its masks are part of the sum all the same; this client just holds no share.
  if (!opened.ok() || opened->size() != 2 * kShareSize) return absl::OkStatus();
  peer.self_mask_share = PartOf(*opened, 0, kShareSize);
  peer.mask_key_share = PartOf(*opened, kShareSize, kShareSize);
  return absl::OkStatus();
}

absl::StatusOr<Bytes> ClientSession::OnSharesForYou(const SharesForYou& message) {
  if (message.sharers.places() != shape_->graph.client_count() ||
      !message.sharers.Contains(own_place_)) {
    return False("the clients that shared are not among those that advertised, with this one");
  }
  if (message.sharers.size() < shape_->least_survivors) {
    return TooFew("clients have shared their secrets", message.sharers.size(),
                  shape_->least_survivors);
  }
  size_t next = 0;
  for (Peer& peer : peers_) {
    if (peer.place == own_place_ || !message.sharers.Contains(peer.place)) continue;
    if (next == message.entries.size()) return False("a neighbour's shares are missing");
    RETURN_IF_ERROR(TakeShares(peer, message.entries[next++]));
  }
  if (next != message.entries.size()) return False("there are shares of clients that have none");
  if (static_cast<int>(next) + 1 < shape_->threshold) {
    return TooFew("neighbours have shared their secrets", static_cast<int>(next) + 1,
                  shape_->threshold);
  }
  sharers_ = message.sharers;
  sharers_hash_ = HashOfSharers(id_, root_, sharers_);
  return Bytes();
}

// ---- Survivors and unmasking ----

absl::StatusOr<Bytes> ClientSession::OnSurvivors(const Survivors& message) {
  if (!message.survivors.IsPartOf(sharers_) || !message.survivors.Contains(own_place_)) {
    return False("the survivors are not among those that shared, with this client");
  }
  if (message.survivors.size() < shape_->least_survivors) {
    return TooFew("clients' inputs have arrived", message.survivors.size(),
                  shape_->least_survivors);
  }
  survivors_ = message.survivors;
  survivors_hash_ = HashOfSurvivors(id_, sharers_hash_, survivors_);
  return Encode(
      Agreement{options_.key->Sign(AgreementStatement(id_, options_.number, survivors_hash_))});
}

absl::Status ClientSession::CheckAgreementProof(ByteSpan message) const {
  ASSIGN_OR_RETURN(const AgreementProof proof, DecodeAgreementProof(message));
  std::set<uint32_t> signers;
  for (const AgreementProof::Entry& entry : proof.entries) {
    const auto peer = std::find_if(peers_.begin(), peers_.end(), [&entry](const Peer& candidate) {
      return candidate.place == static_cast<int>(entry.place);
    });
    if (peer == peers_.end() || !survivors_.Contains(peer->place) ||
        !signers.insert(peer->number).second ||
        !VerifySignature(options_.parameters.suite, *SigningKeyOf(peer->number),
                         AgreementStatement(id_, peer->number, survivors_hash_), entry.signature)
             .ok()) {
      return False("a signature on the survivors is not a neighbour's, or on others");
    }
  }
  if (static_cast<int>(signers.size()) < shape_->threshold) {
    return TooFew("neighbours have agreed on the survivors", static_cast<int>(signers.size()),
                  shape_->threshold);
  }
  return absl::OkStatus();
}

// Of each neighbour that shared its secrets one share, by whether it survives.
Bytes ClientSession::SharesForUnmasking() const {
  UnmaskShares shares;
  bool anyone_dropped = false;
  for (const Peer& peer : peers_) {
    if (!sharers_.Contains(peer.place)) continue;
    const bool survives = survivors_.Contains(peer.place);
    anyone_dropped = anyone_dropped || !survives;
    const std::optional<SecretBytes>& share = survives ? peer.self_mask_share : peer.mask_key_share;
    shares.shares.emplace_back();
    if (share.has_value()) shares.shares.back() = CopyOf(*share);
  }
  if (anyone_dropped && mask_salt_.has_value()) shares.mask_salt = CopyOf(*mask_salt_);
  return Encode(shares);
}

}  // namespace fedtune
