// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/unmasking.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/agreement_key.h"
#include "privacy/secure_aggregation/session_keys.h"

namespace fedtune {

Unmasking::Unmasking(const SessionParameters& parameters, const Digest& session,
                     const CohortShape& shape, const PlaceSet& sharers, const PlaceSet& survivors)
    : parameters_(parameters),
      session_(session),
      shape_(shape),
      sharers_(sharers),
      survivors_(survivors),
      rebuilder_(shape.threshold) {}

const Unmasking::Sharer* Unmasking::At(int place) const {
  const auto found =
      std::lower_bound(by_place_.begin(), by_place_.end(), place,
                       [](const Sharer& sharer, int wanted) { return sharer.place < wanted; });
  return found == by_place_.end() || found->place != place ? nullptr : &*found;
}

// What its neighbours gave of the one secret of this client that they may give.
std::vector<GivenShare> Unmasking::SharesOf(const Sharer& sharer) const {
  std::vector<GivenShare> shares;
  const auto neighbours = shape_.graph.ClosedNeighborhood(sharer.place);
  for (size_t i = 0; i < neighbours.size(); ++i) {
    const Sharer* giver = At(neighbours[i]);
    if (giver == nullptr || giver->answer == nullptr) continue;
    // A giver lists the sharers of its own neighbourhood, by place.
    size_t index = 0;
    for (const int place : shape_.graph.ClosedNeighborhood(giver->place)) {
      if (place == sharer.place) break;
      if (sharers_.Contains(place)) ++index;
    }
    const std::optional<SecretBytes>& share = giver->answer->shares[index];
    if (!share.has_value()) continue;
    shares.push_back(
        {.giver = giver->number, .point = static_cast<uint32_t>(i + 1), .share = &*share});
  }
  return shares;
}

absl::StatusOr<SecretBytes> Unmasking::Rebuild(
    const Sharer& owner, std::string_view otherwise,
    const std::function<bool(const SecretBytes&)>& is_right) {
  absl::StatusOr<SecretBytes> secret = rebuilder_.Rebuild(SharesOf(owner), is_right);
  if (!secret.ok()) {
    return Annotate(secret.status(), fmt::format(fmt::runtime(otherwise), owner.number));
  }
  for (const uint32_t giver : rebuilder_.liars()) wrong_shares_.emplace(giver, owner.number);
  return secret;
}

absl::Status Unmasking::TakeOffSelfMask(const Sharer& survivor, MaskStreams& masks) {
  ASSIGN_OR_RETURN(
      const SecretBytes seed,
      Rebuild(survivor, "the self-mask of number {} stays on", [&](const SecretBytes& candidate) {
        return CommitToSeed(session_, survivor.number, candidate) == survivor.seed_commitment;
      }));
  masks.Add(SelfMaskKey(session_, seed), MaskSign::kSubtract);
  return absl::OkStatus();
}

absl::Status Unmasking::TakeOffPairMasks(const Sharer& dropped, MaskStreams& masks) {
  ASSIGN_OR_RETURN(
      const SecretBytes seed,
      Rebuild(dropped, "the masks shared with number {} stay on",
              [&](const SecretBytes& candidate) {
                return AgreementKey::FromSeed(parameters_.suite, candidate).public_key() ==
                       dropped.mask_key;
              }));
  const AgreementKey key = AgreementKey::FromSeed(parameters_.suite, seed);
  for (const int place : shape_.graph.ClosedNeighborhood(dropped.place)) {
    if (!survivors_.Contains(place)) continue;
    const Sharer& survivor = *At(place);
    ASSIGN_OR_RETURN(const SecretBytes agreed, key.Agree(survivor.mask_key));
    // The survivor added it if the dropped client's number is the higher one.
    masks.Add(PairMaskKey(session_, mask_salt_, agreed, dropped.number, survivor.number),
              dropped.number > survivor.number ? MaskSign::kSubtract : MaskSign::kAdd);
  }
  return absl::OkStatus();
}

// Clients that have a federation key give its part for this session when masks
// of dropped clients must come off; each was checked against its commitment.
void Unmasking::FindMaskSalt() {
  for (const Sharer& sharer : by_place_) {
    if (sharer.answer == nullptr || !sharer.answer->mask_salt.has_value()) continue;
    const auto bytes = sharer.answer->mask_salt->Reveal();
    mask_salt_ = SecretBytes(Bytes(bytes.begin(), bytes.end()));
    break;
  }
}

absl::StatusOr<MaskStreams> Unmasking::Masks() {
  FindMaskSalt();
  MaskStreams masks(parameters_.ring);
  for (const Sharer& sharer : by_place_) {
    RETURN_IF_ERROR(survivors_.Contains(sharer.place) ? TakeOffSelfMask(sharer, masks)
                                                      : TakeOffPairMasks(sharer, masks));
  }
  return masks;
}

}  // namespace fedtune
