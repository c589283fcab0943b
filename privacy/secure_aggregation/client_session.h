// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/crypto/signing_key.h"
#include "privacy/secure_aggregation/mask_stream.h"
#include "privacy/secure_aggregation/messages.h"
#include "privacy/secure_aggregation/session_keys.h"
#include "privacy/secure_aggregation/session_parameters.h"

namespace fedtune {

// What an institution insists on, whatever a plan says.
struct CohortFloor {
  int min_cohort = 5;
  int assumed_corrupt = 0;
};

// One client's side of one secure aggregation (FSA-1; after Bonawitz et al., CCS
// 2017, and Bell et al., CCS 2020):
//
//   Advertise -> [key directory] -> shares -> [the others' shares] -> FixInput
//     -> masks -> SignInput -> [survivors] -> agreement -> [proof] -> unmask shares
//
// It believes the coordinator nothing that the others have not signed, and hands
// out of each neighbour's two secrets at most one. After the first message that
// is not as it must be, or that differs from one that was answered, the session
// is given up and answers nothing any more.
//
// Pure protocol: no thread, clock, socket or file, and no randomness but the
// round secret. Every step gives a record, which must be on the disk before its
// message leaves; Resume() goes on from the records, with the same bytes. That a
// session was given up is in no record: who keeps the records forgets them then.
// An institution must not begin a session of a round in which it ever agreed on
// survivors, in whatever attempt: two sums over different survivors are one
// contribution in the clear. Not thread-safe.
class ClientSession {
 public:
  struct Options {
    SessionParameters parameters;
    CohortFloor floor;
    uint32_t number = 0;  // This client's in the signing roster.
    std::shared_ptr<const SigningKey> key;
    std::map<uint32_t, Bytes> signing_keys;  // Of the roster, by number.
    Digest model;                            // Of the base model and adapter it trained from.
    SecretBytes round_secret;                // 32 bytes, new for each session, stored.
    std::optional<SecretBytes> federation_key = std::nullopt;
  };

  struct Step {
    Bytes record;   // To be stored first; empty when it is stored already.
    Bytes message;  // To be sent then; empty when there is nothing to say.
  };

  // INVALID_ARGUMENT: the parameters are out of range, or the key is not the
  // roster's. FAILED_PRECONDITION: the plan asks for less than the floor.
  static absl::StatusOr<ClientSession> Create(Options options);

  // Goes on from the records of an earlier process, in their order.
  // DATA_LOSS: they are not those of this session, or damaged.
  static absl::StatusOr<ClientSession> Resume(Options options, std::span<const Bytes> records);

  // The first message; the same one whenever it is asked for.
  absl::StatusOr<Step> Advertise();

  // Takes a message of the coordinator. One that was answered is answered again.
  // On error (INVALID_ARGUMENT: a false or malformed message; FAILED_PRECONDITION:
  // too few clients, or not now) the session is given up for good.
  absl::StatusOr<Step> Receive(ByteSpan message);

  // Fixes what will be masked, once: `input` is the digest of the quantised
  // vector. Requires: the others' shares have come.
  // FAILED_PRECONDITION: another input was fixed before; gives the session up.
  absl::StatusOr<Step> FixInput(const Digest& input);

  // The masks of this client's vector. Requires that FixInput() has succeeded
  // and its record is stored.
  absl::StatusOr<MaskStreams> Masks() const;

  // The message that ends the upload: `chunk_root` is the Merkle root over the
  // masked chunks. As FixInput() when it is not the same as before.
  absl::StatusOr<Step> SignInput(const Digest& chunk_root);

  bool has_agreed() const { return stage_ >= Stage::kAgreed; }
  bool has_unmasked() const { return stage_ == Stage::kUnmasked; }
  // Why the session was given up; OK while it was not.
  const absl::Status& failure() const { return failure_; }
  const Digest& id() const { return id_; }

 private:
  enum class Stage : uint8_t {
    kNew,
    kAdvertised,
    kShared,
    kMasking,
    kInputFixed,
    kInputSigned,
    kAgreed,
    kUnmasked
  };

  // Somebody in the closed neighbourhood.
  struct Peer {
    int place = 0;
    uint32_t number = 0;
    Bytes share_key;
    Bytes mask_key;
    Digest seed_commitment = {};
    // What it gave this client; none while it has not, or when it did not open.
    std::optional<SecretBytes> self_mask_share = std::nullopt;
    std::optional<SecretBytes> mask_key_share = std::nullopt;
  };

  struct Answered {
    Digest request;
    Bytes message;
  };

  explicit ClientSession(Options options);

  absl::Status GiveUp(absl::Status why);
  Bytes RecordOf(Stage stage, ByteSpan request, ByteSpan message) const;
  Step Take(Stage stage, ByteSpan request, Bytes message);
  absl::StatusOr<Step> Repeat(Stage stage, ByteSpan request);
  absl::Status Replay(ByteSpan record);

  // One for each message; the answer's bytes, or why the session is given up.
  absl::StatusOr<Bytes> Answer(ByteSpan message, Stage stage);
  absl::StatusOr<Bytes> OnKeyDirectory(const KeyDirectory& directory);
  absl::StatusOr<Bytes> OnSharesForYou(const SharesForYou& message);
  absl::StatusOr<Bytes> OnSurvivors(const Survivors& message);
  absl::Status CheckAgreementProof(ByteSpan message) const;
  Bytes SharesForUnmasking() const;

  Advertisement OwnAdvertisement() const;
  absl::Status CheckEntries(const KeyDirectory& directory) const;
  absl::Status CheckEntry(const Advertisement& entry) const;
  absl::Status CheckPlaces(const KeyDirectory& directory, size_t own) const;
  absl::StatusOr<Bytes> ShareSecrets();
  absl::Status TakeShares(Peer& peer, const SharesForYou::Entry& entry);
  const Peer& Self() const;
  const Bytes* SigningKeyOf(uint32_t number) const;

  Options options_;
  Digest id_;
  std::optional<SecretBytes> mask_salt_;
  std::optional<RoundSecrets> secrets_;  // None once given up.
  Stage stage_ = Stage::kNew;
  Digest last_record_;
  std::map<Stage, Answered> answered_;
  absl::Status failure_;

  Advertisement advertisement_;
  std::optional<CohortShape> shape_;
  Digest root_;
  int own_place_ = 0;
  std::vector<Peer> peers_;  // The closed neighbourhood, by place.
  PlaceSet sharers_;
  Digest sharers_hash_;
  PlaceSet survivors_;
  Digest survivors_hash_;
};

}  // namespace fedtune
