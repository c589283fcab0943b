// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/crypto/sha256.h"
#include "privacy/secure_aggregation/shamir.h"

namespace fedtune {

// The messages of the protocol FSA-1 (docs/SECURE_AGGREGATION.md), numbered as
// there. Each has one encoding: its number, then its parts (canonical_bytes.h).
// A client's place is its index among the clients that advertised, in the order
// of their roster numbers.
enum class MessageKind : uint8_t {
  kAdvertisement = 1,   // Client: the round's public keys.
  kKeyDirectory = 2,    // Coordinator: everyone's, or the neighbours'.
  kShares = 3,          // Client: its secrets, split and sealed for its neighbours.
  kSharesForYou = 4,    // Coordinator: what the others sealed for this client.
  kInputManifest = 5,   // Client: what it has handed in, masked.
  kSurvivors = 6,       // Coordinator: whose input has arrived.
  kAgreement = 7,       // Client: its signature on exactly these survivors.
  kAgreementProof = 8,  // Coordinator: enough such signatures.
  kUnmaskShares = 9,    // Client: for each neighbour one of its two secrets' shares.
};

inline constexpr size_t kSignatureSize = 64;
inline constexpr size_t kSealedSize = 2 * kShareSize + 16;
inline constexpr size_t kLargestPublicKey = 65;
inline constexpr size_t kLargestMessage = size_t{4} << 20;

// One bit per place.
class PlaceSet {
 public:
  PlaceSet() = default;
  explicit PlaceSet(int places) : bits_(static_cast<size_t>(places)) {}

  int places() const { return static_cast<int>(bits_.size()); }
  bool Contains(int place) const { return bits_[static_cast<size_t>(place)]; }
  void Insert(int place) { bits_[static_cast<size_t>(place)] = true; }
  int size() const;
  bool IsPartOf(const PlaceSet& other) const;  // False if the places differ in number.

  friend bool operator==(const PlaceSet&, const PlaceSet&) = default;

 private:
  std::vector<bool> bits_;
};

// 1
struct Advertisement {
  uint32_t number = 0;  // In the signing roster.
  Bytes share_key;      // For sealing shares (c_pk).
  Bytes mask_key;       // For pairwise masks (s_pk).
  Digest nonce;
  Digest model;            // Of the base model and the adapter that the client trained from.
  Digest mask_salt_check;  // Commitment to what the federation key adds; zeros without one.
  Bytes signature;
};

// 2
struct KeyDirectory {
  struct Entry {
    uint32_t place = 0;
    Advertisement advertisement;
    std::vector<Digest> proof;  // That it is at this place; empty in a complete graph.
  };
  uint32_t client_count = 0;
  Digest root;  // Merkle root over the encoded advertisements.
  std::vector<Entry> entries;
};

// 3: for the neighbours in the order of their places.
struct Shares {
  Digest seed_commitment;  // To the self-mask's seed.
  std::vector<Bytes> sealed;
  Bytes signature;
};

// 4: from the neighbours that have shared, in the order of their places.
struct SharesForYou {
  struct Entry {
    Digest seed_commitment;
    Digest all_sealed;  // SHA-256 of all that it sealed.
    Bytes sealed;       // For this client.
    Bytes signature;
  };
  PlaceSet sharers;
  std::vector<Entry> entries;
};

// 5
struct InputManifest {
  Digest chunk_root;  // Merkle root over the masked chunks.
  Bytes signature;
};

// 6
struct Survivors {
  PlaceSet survivors;
};

// 7
struct Agreement {
  Bytes signature;
};

// 8
struct AgreementProof {
  struct Entry {
    uint32_t place = 0;
    Bytes signature;
  };
  std::vector<Entry> entries;
};

// 9: for the sharers in the closed neighbourhood, in the order of their places:
// of a survivor the share of its self-mask's seed, of a dropped client that of
// its mask key.
struct UnmaskShares {
  std::vector<std::optional<SecretBytes>> shares;  // None: it could not be opened.
  std::optional<SecretBytes> mask_salt;  // Only with a federation key, and a dropped client.
};

Bytes Encode(const Advertisement& message);
Bytes Encode(const KeyDirectory& message);
Bytes Encode(const Shares& message);
Bytes Encode(const SharesForYou& message);
Bytes Encode(const InputManifest& message);
Bytes Encode(const Survivors& message);
Bytes Encode(const Agreement& message);
Bytes Encode(const AgreementProof& message);
// Holds secrets for the coordinator: to be sent over TLS, never logged.
Bytes Encode(const UnmaskShares& message);

// INVALID_ARGUMENT: no message of this protocol.
absl::StatusOr<MessageKind> KindOf(ByteSpan message);

// INVALID_ARGUMENT: not that message, cut short, too long, or with bytes after
// its end. What is decoded is well formed and nothing more.
absl::StatusOr<Advertisement> DecodeAdvertisement(ByteSpan message);
absl::StatusOr<KeyDirectory> DecodeKeyDirectory(ByteSpan message);
absl::StatusOr<Shares> DecodeShares(ByteSpan message);
absl::StatusOr<SharesForYou> DecodeSharesForYou(ByteSpan message);
absl::StatusOr<InputManifest> DecodeInputManifest(ByteSpan message);
absl::StatusOr<Survivors> DecodeSurvivors(ByteSpan message);
absl::StatusOr<Agreement> DecodeAgreement(ByteSpan message);
absl::StatusOr<AgreementProof> DecodeAgreementProof(ByteSpan message);
absl::StatusOr<UnmaskShares> DecodeUnmaskShares(ByteSpan message);

}  // namespace fedtune
