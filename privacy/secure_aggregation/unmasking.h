// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/sha256.h"
#include "privacy/secure_aggregation/mask_stream.h"
#include "privacy/secure_aggregation/messages.h"
#include "privacy/secure_aggregation/secret_rebuilder.h"
#include "privacy/secure_aggregation/session_parameters.h"

namespace fedtune {

// The end of a secure aggregation: rebuilds the survivors' self-mask seeds and
// the dropped clients' mask keys from the shares that were given, checks each
// against what its owner published, and makes of them the masks that the sum
// still carries. Use it once; what it is given must outlive it. Not thread-safe.
class Unmasking {
 public:
  // A client that shared its secrets.
  struct Sharer {
    int place = 0;
    uint32_t number = 0;
    Bytes mask_key;
    Digest seed_commitment;
    const UnmaskShares* answer = nullptr;  // Null: it gave none.
  };

  Unmasking(const SessionParameters& parameters, const Digest& session, const CohortShape& shape,
            const PlaceSet& sharers, const PlaceSet& survivors);

  // All sharers, in the order of their places.
  void Add(Sharer sharer) { by_place_.push_back(std::move(sharer)); }

  // Streams that, added to the sum, take its masks off.
  // FAILED_PRECONDITION: a secret cannot be rebuilt; says whose.
  absl::StatusOr<MaskStreams> Masks();

  // Who gave wrong shares, and of whose secret the first of them; by number.
  const std::map<uint32_t, uint32_t>& wrong_shares() const { return wrong_shares_; }

 private:
  std::vector<GivenShare> SharesOf(const Sharer& sharer) const;
  absl::StatusOr<SecretBytes> Rebuild(const Sharer& owner, std::string_view otherwise,
                                      const std::function<bool(const SecretBytes&)>& is_right);
  absl::Status TakeOffSelfMask(const Sharer& survivor, MaskStreams& masks);
  absl::Status TakeOffPairMasks(const Sharer& dropped, MaskStreams& masks);
  void FindMaskSalt();
  const Sharer* At(int place) const;

  const SessionParameters& parameters_;
  const Digest& session_;
  const CohortShape& shape_;
  const PlaceSet& sharers_;
  const PlaceSet& survivors_;
  std::vector<Sharer> by_place_;
  SecretRebuilder rebuilder_;
  std::map<uint32_t, uint32_t> wrong_shares_;
  std::optional<SecretBytes> mask_salt_;
};

}  // namespace fedtune
