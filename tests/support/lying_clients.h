// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/aead.h"
#include "privacy/secure_aggregation/session_keys.h"
#include "privacy/secure_aggregation/statements.h"
#include "tests/support/secure_round.h"

namespace fedtune::testing {

// Whom the coordinator has blamed.
using Numbers = std::set<uint32_t>;
inline Numbers Named(PlayedRound& played) {
  Numbers named;
  for (const CoordinatorSession::Fault& fault : played.coordinator().faults()) {
    named.insert(fault.number);
  }
  return named;
}

// Changes what a client would say of this kind.
template <typename Change>
PlayedRound::Lie InsteadOf(MessageKind kind, Change change) {
  return [kind, change](const Bytes& request, Bytes answer) {
    if (answer.empty() || answer[0] != static_cast<uint8_t>(kind)) return answer;
    return change(request, answer);
  };
}

// A round in which some clients lie, with what it takes to lie well.
class LyingClientsTest : public ::testing::Test {
 protected:
  static constexpr auto kSuite = CipherSuite::kCurve25519;

  void Start(int clients, bool federation_key = false) {
    round_.emplace(
        SecureRoundOptions{.clients = clients, .elements = 5, .federation_key = federation_key});
    played_.emplace(*round_);
    id_ = SessionId(round_->parameters());
  }

  void ExpectExactSum(const Numbers& liars) {
    played_->Play();
    ASSERT_EQ(played_->coordinator().phase(), CoordinatorSession::Phase::kDone)
        << played_->coordinator().failure();
    EXPECT_EQ(played_->Sum(), round_->PlainSum(played_->coordinator().Survivors()));
    EXPECT_EQ(Named(*played_), liars);
  }

  void ExpectFailure(const std::string& reason) {
    played_->Play();
    EXPECT_EQ(played_->coordinator().phase(), CoordinatorSession::Phase::kFailed);
    EXPECT_THAT(played_->coordinator().failure(), ::testing::HasSubstr(reason));
  }

  // What this client keeps secret; the tests know it.
  RoundSecrets SecretsOf(uint32_t number) const { return {SecretOf(number), id_, kSuite}; }

  // Advertises something else under its own signature.
  template <typename Change>
  void AdvertisesInstead(uint32_t number, Change change) {
    played_->Lies(
        number, InsteadOf(MessageKind::kAdvertisement, [this, number, change](const Bytes&,
                                                                              const Bytes& answer) {
          Advertisement said = *DecodeAdvertisement(answer);
          change(said);
          said.signature = SigningKeyOf(kSuite, number)->Sign(AdvertisementStatement(id_, said));
          return Encode(said);
        }));
  }

  // Shares something else under its own signature.
  template <typename Change>
  void SharesInstead(uint32_t number, Change change) {
    played_->Lies(
        number, InsteadOf(MessageKind::kShares, [this, number, change](const Bytes& request,
                                                                       const Bytes& answer) {
          const KeyDirectory directory = *DecodeKeyDirectory(request);
          Shares said = *DecodeShares(answer);
          change(directory, said);
          said.signature =
              SigningKeyOf(kSuite, number)
                  ->Sign(SharesStatement(id_, directory.root, number, said.seed_commitment,
                                         HashOfSealed(said.sealed)));
          return Encode(said);
        }));
  }

  // Seals these shares, by point, as it should seal its own. Requires: no
  // federation key, and a complete graph.
  void Seal(uint32_t number, const KeyDirectory& directory, const std::vector<Bytes>& shares,
            Shares& said) const {
    said.sealed.clear();
    const RoundSecrets secrets = SecretsOf(number);
    for (size_t point = 0; point < shares.size(); ++point) {
      const Advertisement& other = directory.entries[point].advertisement;
      if (other.number == number) continue;
      const SecretBytes agreed = *secrets.share_key().Agree(other.share_key);
      said.sealed.push_back(
          SealOnce(ShareSealingKey(id_, std::nullopt, agreed, number, other.number),
                   ShareContext(id_, number, other.number, said.seed_commitment), shares[point]));
    }
  }

  // Gives wrong shares of every secret.
  void UnmasksWrongly(uint32_t number) {
    played_->Lies(
        number, InsteadOf(MessageKind::kUnmaskShares, [number](const Bytes&, const Bytes& answer) {
          UnmaskShares said = *DecodeUnmaskShares(answer);
          std::mt19937 random(number);
          for (auto& share : said.shares) share = RandomShare(random);
          return Encode(said);
        }));
  }

  static SecretBytes RandomShare(std::mt19937& random) {
    Bytes bytes(kShareSize);
    for (size_t i = 0; i < bytes.size(); ++i) {
      if (i % 8 < 7) bytes[i] = static_cast<uint8_t>(random());  // A number of the field.
    }
    return SecretBytes(std::move(bytes));
  }

  std::optional<SecureRound> round_;
  std::optional<PlayedRound> played_;
  Digest id_;
};

}  // namespace fedtune::testing
