// SPDX-License-Identifier: Apache-2.0

// How the phases of a session end, and what clients are asked in them;
// coordinator_session.cpp takes the clients' messages.

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "privacy/crypto/merkle_tree.h"
#include "privacy/secure_aggregation/coordinator_session.h"
#include "privacy/secure_aggregation/statements.h"
#include "privacy/secure_aggregation/unmasking.h"

namespace fedtune {

int CoordinatorSession::PlaceOf(uint32_t number) const {
  const auto found = std::lower_bound(clients_.begin(), clients_.end(), number);
  return found == clients_.end() || *found != number ? -1
                                                     : static_cast<int>(found - clients_.begin());
}

std::set<int> CoordinatorSession::Answered(MessageKind kind) const {
  std::set<int> places;
  for (size_t place = 0; place < clients_.size(); ++place) {
    if (members_.at(clients_[place]).answered.contains(kind)) {
      places.insert(static_cast<int>(place));
    }
  }
  return places;
}

bool CoordinatorSession::Awaits(const Member& member) const {
  if (member.dropped) return false;
  const int place = PlaceOf(member.number);
  switch (phase_) {
    case Phase::kAdvertising:
      return !member.advertisement.has_value();
    case Phase::kSharing:
      return place >= 0 && !member.shares.has_value();
    case Phase::kCollecting:
      return place >= 0 && sharers_.Contains(place) && !member.manifest.has_value();
    case Phase::kAgreeing:
      return place >= 0 && survivors_.Contains(place) && !member.agreement.has_value();
    case Phase::kUnmasking:
      return place >= 0 && survivors_.Contains(place) && !member.unmask.has_value();
    default:
      return false;
  }
}

bool CoordinatorSession::IsAwaited(uint32_t number) const {
  const auto found = members_.find(number);
  return found != members_.end() && Awaits(found->second);
}

std::vector<uint32_t> CoordinatorSession::Awaited() const {
  std::vector<uint32_t> awaited;
  for (const auto& [number, member] : members_) {
    if (Awaits(member)) awaited.push_back(number);
  }
  return awaited;
}

std::vector<uint32_t> CoordinatorSession::Survivors() const {
  Check(phase_ > Phase::kCollecting, "survivors are known when the inputs are collected");
  std::vector<uint32_t> survivors;
  for (int place = 0; place < survivors_.places(); ++place) {
    if (survivors_.Contains(place)) survivors.push_back(clients_[static_cast<size_t>(place)]);
  }
  return survivors;
}

// In a complete graph: a threshold of them. In a sparse one each of those that
// count must have as many in its own neighbourhood.
bool CoordinatorSession::EnoughEverywhere(const std::set<int>& answered) const {
  for (int place = 0; place < sharers_.places(); ++place) {
    if (!sharers_.Contains(place)) continue;
    const auto neighbours = shape_->graph.ClosedNeighborhood(place);
    const auto have = std::count_if(neighbours.begin(), neighbours.end(),
                                    [&](int other) { return answered.contains(other); });
    if (have < shape_->threshold) return false;
    if (shape_->graph.degree() + 1 == shape_->graph.client_count()) return true;
  }
  return true;
}

void CoordinatorSession::CloseAgreeing(bool no_more_come) {
  if (EnoughEverywhere(Answered(MessageKind::kAgreement))) {
    phase_ = Phase::kUnmasking;
  } else if (no_more_come) {
    Fail("too few clients agreed on the survivors: " + MissingAnswers());
  }
}

void CoordinatorSession::CloseUnmasking(bool no_more_come) {
  const std::set<int> answered = Answered(MessageKind::kUnmaskShares);
  if (!EnoughEverywhere(answered)) {
    if (no_more_come) {
      Fail("too few clients gave their shares for unmasking: " + MissingAnswers());
    }
    return;
  }
  // Wrong shares cost many tries: the same answers are not gone through again.
  if (!no_more_come && answered.size() == answers_in_vain_) return;
  answers_in_vain_ = answered.size();
  const absl::Status unmasked = Unmask();
  if (!unmasked.ok() && no_more_come) Fail(std::string(Message(unmasked)));
}

bool CoordinatorSession::Advance(bool time_is_up) {
  const bool no_more_come = time_is_up || Awaited().empty();
  const Phase before = phase_;
  switch (phase_) {
    case Phase::kAdvertising:
      if (no_more_come) CloseAdvertising();
      break;
    case Phase::kSharing:
      if (no_more_come) CloseSharing();
      break;
    case Phase::kCollecting:
      if (no_more_come) CloseCollecting();
      break;
    case Phase::kAgreeing:
      CloseAgreeing(no_more_come);
      break;
    case Phase::kUnmasking:
      CloseUnmasking(no_more_come);
      break;
    default:
      break;
  }
  return phase_ != before;
}

// Masks of clients with different federation keys would not cancel, so the
// clients refuse each other. The key that most of them have is the right one.
void CoordinatorSession::LeaveOutOtherFederationKeys() {
  std::map<Digest, int> votes;
  for (const auto& [number, member] : members_) {
    if (member.advertisement.has_value() && !member.dropped) {
      ++votes[member.advertisement->mask_salt_check];
    }
  }
  const auto most = std::max_element(
      votes.begin(), votes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  for (const auto& [number, member] : members_) {
    if (member.advertisement.has_value() && !member.dropped &&
        member.advertisement->mask_salt_check != most->first) {
      Blame(number, "its federation key is not that of most of the others");
    }
  }
}

void CoordinatorSession::CloseAdvertising() {
  LeaveOutOtherFederationKeys();
  std::vector<Digest> leaves;
  for (const auto& [number, member] : members_) {
    if (!member.advertisement.has_value() || member.dropped) continue;
    clients_.push_back(number);
    leaves.push_back(MerkleLeaf(Encode(*member.advertisement)));
  }
  root_ = MerkleRoot(leaves);
  absl::StatusOr<CohortShape> shape =
      ShapeOf(options_.parameters, static_cast<int>(clients_.size()), root_);
  if (!shape.ok()) return Fail(std::string(Message(shape.status())));
  shape_.emplace(*std::move(shape));
  if (shape_->graph.degree() + 1 < shape_->graph.client_count()) proofs_ = MerkleProofs(leaves);
  phase_ = Phase::kSharing;
}

void CoordinatorSession::CloseSharing() {
  sharers_ = PlaceSet(static_cast<int>(clients_.size()));
  for (const int place : Answered(MessageKind::kShares)) {
    if (!members_.at(clients_[static_cast<size_t>(place)]).dropped) sharers_.Insert(place);
  }
  sharers_hash_ = HashOfSharers(id_, root_, sharers_);
  if (sharers_.size() < shape_->least_survivors) {
    return Fail(fmt::format("{} clients shared their secrets, {} are needed", sharers_.size(),
                            shape_->least_survivors));
  }
  phase_ = Phase::kCollecting;
}

void CoordinatorSession::CloseCollecting() {
  survivors_ = PlaceSet(static_cast<int>(clients_.size()));
  for (const int place : Answered(MessageKind::kInputManifest)) survivors_.Insert(place);
  survivors_hash_ = HashOfSurvivors(id_, sharers_hash_, survivors_);
  if (survivors_.size() < shape_->least_survivors) {
    return Fail(fmt::format("{} masked contributions arrived, {} are needed", survivors_.size(),
                            shape_->least_survivors));
  }
  phase_ = Phase::kAgreeing;
}

void CoordinatorSession::Fail(std::string why) {
  failed_in_ = phase_;
  phase_ = Phase::kFailed;
  failure_ = std::move(why);
}

// Who gives shares for unmasking has agreed, if late.
std::vector<uint32_t> CoordinatorSession::AtFault() const {
  Check(phase_ == Phase::kFailed, "nobody is at fault while the session may succeed");
  std::vector<MessageKind> needed = {MessageKind::kAdvertisement};
  if (failed_in_ >= Phase::kSharing) needed.push_back(MessageKind::kShares);
  if (failed_in_ >= Phase::kCollecting) needed.push_back(MessageKind::kInputManifest);
  if (failed_in_ == Phase::kAgreeing) needed.push_back(MessageKind::kAgreement);
  if (failed_in_ == Phase::kUnmasking) needed.push_back(MessageKind::kUnmaskShares);
  std::vector<uint32_t> at_fault;
  for (const auto& [number, member] : members_) {
    if (!member.advertisement.has_value()) continue;
    const auto& answered = member.answered;
    const bool has_all = std::all_of(needed.begin(), needed.end(), [&answered](MessageKind kind) {
      return answered.contains(kind);
    });
    if (member.dropped || !has_all) at_fault.push_back(number);
  }
  return at_fault;
}

std::string CoordinatorSession::MissingAnswers() const {
  std::vector<std::string> missing;
  for (const auto& [number, member] : members_) {
    const int place = PlaceOf(number);
    if (place < 0 || !survivors_.Contains(place)) continue;
    if (!member.answered.contains(phase_ == Phase::kAgreeing ? MessageKind::kAgreement
                                                             : MessageKind::kUnmaskShares)) {
      missing.push_back(fmt::format("number {}", number));
    }
  }
  return fmt::format("{} did not answer", fmt::join(missing, ", "));
}

absl::Status CoordinatorSession::Unmask() {
  Unmasking unmasking(options_.parameters, id_, *shape_, sharers_, survivors_);
  for (size_t place = 0; place < clients_.size(); ++place) {
    const Member& member = members_.at(clients_[place]);
    if (!sharers_.Contains(static_cast<int>(place))) continue;
    unmasking.Add({.place = static_cast<int>(place),
                   .number = member.number,
                   .mask_key = member.advertisement->mask_key,
                   .seed_commitment = member.shares->seed_commitment,
                   .answer = member.unmask.has_value() ? &*member.unmask : nullptr});
  }
  absl::StatusOr<MaskStreams> masks = unmasking.Masks();
  if (!masks.ok()) return masks.status();
  for (const auto& [giver, owner] : unmasking.wrong_shares()) {
    faults_.push_back({giver, fmt::format("its share of a secret of number {0} is wrong: it lied, "
                                          "or number {0} sealed it wrongly",
                                          owner)});
  }
  masks_.emplace(*std::move(masks));
  phase_ = Phase::kDone;
  return absl::OkStatus();
}

// ---- What clients are asked ----

Bytes CoordinatorSession::MessageFor(uint32_t number) const {
  const auto found = members_.find(number);
  if (found == members_.end() || !Awaits(found->second)) return {};
  const int place = PlaceOf(number);
  switch (phase_) {
    case Phase::kSharing:
      return DirectoryFor(place);
    case Phase::kCollecting:
      return SharesFor(place);
    case Phase::kAgreeing:
      return Encode(fedtune::Survivors{survivors_});
    case Phase::kUnmasking:
      return found->second.agreement.has_value() ? Proof(place)
                                                 : Encode(fedtune::Survivors{survivors_});
    default:
      return {};  // Clients advertise of their own accord.
  }
}

Bytes CoordinatorSession::DirectoryFor(int place) const {
  KeyDirectory directory;
  directory.client_count = static_cast<uint32_t>(clients_.size());
  directory.root = root_;
  for (const int other : shape_->graph.ClosedNeighborhood(place)) {
    const auto index = static_cast<size_t>(other);
    directory.entries.push_back(
        {.place = static_cast<uint32_t>(other),
         .advertisement = *members_.at(clients_[index]).advertisement,
         .proof = proofs_.empty() ? std::vector<Digest>() : proofs_[index]});
  }
  return Encode(directory);
}

Bytes CoordinatorSession::SharesFor(int place) const {
  SharesForYou message;
  message.sharers = sharers_;
  for (const int other : shape_->graph.ClosedNeighborhood(place)) {
    if (other == place || !sharers_.Contains(other)) continue;
    const Shares& shares = *members_.at(clients_[static_cast<size_t>(other)]).shares;
    // Its sealed shares go to its neighbours in their order, without itself.
    const auto neighbours = shape_->graph.ClosedNeighborhood(other);
    auto index = std::lower_bound(neighbours.begin(), neighbours.end(), place) - neighbours.begin();
    if (place > other) --index;
    message.entries.push_back({.seed_commitment = shares.seed_commitment,
                               .all_sealed = HashOfSealed(shares.sealed),
                               .sealed = shares.sealed[static_cast<size_t>(index)],
                               .signature = shares.signature});
  }
  return Encode(message);
}

Bytes CoordinatorSession::Proof(int place) const {
  AgreementProof proof;
  for (const int other : shape_->graph.ClosedNeighborhood(place)) {
    const Member& member = members_.at(clients_[static_cast<size_t>(other)]);
    if (!member.agreement.has_value()) continue;
    if (static_cast<int>(proof.entries.size()) == shape_->threshold) break;
    proof.entries.push_back(
        {.place = static_cast<uint32_t>(other), .signature = member.agreement->signature});
  }
  return Encode(proof);
}

}  // namespace fedtune
