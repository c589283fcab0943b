// SPDX-License-Identifier: Apache-2.0

// Clients that share or give back other secrets than they should: they are named
// and the sum is exact, or the round ends and says whose secret stayed hidden.

#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/lying_clients.h"

namespace fedtune {
namespace {

using testing::InsteadOf;
using testing::Named;
using testing::Numbers;

class WrongSharesTest : public testing::LyingClientsTest {
 protected:
  static Numbers SomeOf(uint32_t clients, size_t count, std::mt19937& random) {
    Numbers some;
    while (some.size() < count) some.insert(1 + static_cast<uint32_t>(random()) % clients);
    return some;
  }

  // The shares of both secrets of this client, as it should seal them, by point.
  std::vector<Bytes> SharesOf(uint32_t number, int threshold, int count) const {
    const RoundSecrets secrets = SecretsOf(number);
    const auto seeds =
        SplitSecret(secrets.self_mask_seed(), threshold, count, secrets.self_mask_coefficients());
    const auto keys =
        SplitSecret(secrets.mask_key_seed(), threshold, count, secrets.mask_key_coefficients());
    std::vector<Bytes> shares;
    for (size_t i = 0; i < seeds.size(); ++i) {
      shares.emplace_back(seeds[i].Reveal().begin(), seeds[i].Reveal().end());
      shares.back().insert(shares.back().end(), keys[i].Reveal().begin(), keys[i].Reveal().end());
    }
    return shares;
  }
};

// ---- Wrong shares at unmasking ----

TEST_F(WrongSharesTest, AsManyAsCanBeSpared) {
  std::mt19937 random(1);
  for (uint32_t clients = 4; clients <= 10; ++clients) {
    const auto spare =
        clients - static_cast<uint32_t>(CompleteGraphThreshold(static_cast<int>(clients)));
    for (uint32_t count = 1; count <= spare; ++count) {
      SCOPED_TRACE(std::to_string(clients) + " " + std::to_string(count));
      Start(static_cast<int>(clients));
      const Numbers liars = SomeOf(clients, count, random);
      for (const uint32_t liar : liars) UnmasksWrongly(liar);
      ExpectExactSum(liars);
    }
  }
}

TEST_F(WrongSharesTest, WhileOthersDropBeforeTheirInput) {
  Start(10);
  for (const uint32_t number : {2u, 7u}) {
    played_->DropBefore(number, MessageKind::kInputManifest);
  }
  UnmasksWrongly(5);
  ExpectExactSum({5});
  EXPECT_EQ(played_->coordinator().Survivors().size(), 8u);
}

TEST_F(WrongSharesTest, TooManyLeaveASecretHidden) {
  for (int clients = 3; clients <= 10; ++clients) {
    SCOPED_TRACE(clients);
    Start(clients);
    const int count = clients - CompleteGraphThreshold(clients) + 1;
    for (int liar = 1; liar <= count; ++liar) UnmasksWrongly(static_cast<uint32_t>(liar));
    ExpectFailure("the self-mask of number 1 stays on");
    EXPECT_EQ(Named(*played_), Numbers());
  }
}

TEST_F(WrongSharesTest, SharesThatAreKeptBackAreMissed) {
  Start(4);
  for (const uint32_t number : {1u, 2u}) {
    played_->Lies(number,
                  InsteadOf(MessageKind::kUnmaskShares, [](const Bytes&, const Bytes& answer) {
                    UnmaskShares said = *DecodeUnmaskShares(answer);
                    said.shares[3].reset();
                    return Encode(said);
                  }));
  }
  ExpectFailure("the self-mask of number 4 stays on: 2 shares came, 3 are needed");
}

// ---- Wrong shares from the start ----

TEST_F(WrongSharesTest, SharesThatOneNeighbourCannotOpen) {
  for (const bool drops : {false, true}) {
    Start(7);
    SharesInstead(2, [](const KeyDirectory&, Shares& said) { said.sealed[0][5] ^= 1; });
    UnmaskShares given;
    played_->Lies(1, InsteadOf(MessageKind::kUnmaskShares, [&](const Bytes&, const Bytes& answer) {
                    given = *DecodeUnmaskShares(answer);
                    return answer;
                  }));
    if (drops) played_->DropBefore(2, MessageKind::kInputManifest);
    ExpectExactSum({});
    EXPECT_EQ(played_->coordinator().Survivors().size(), drops ? 6u : 7u);
    ASSERT_EQ(given.shares.size(), 7u);
    EXPECT_FALSE(given.shares[1].has_value()) << "of number 2";
    EXPECT_TRUE(given.shares[2].has_value()) << "of number 3";
  }
}

TEST_F(WrongSharesTest, SharesThatNobodyCanOpen) {
  const auto spoil = [](const KeyDirectory&, Shares& said) {
    for (Bytes& sealed : said.sealed) sealed[5] ^= 1;
  };
  Start(5);
  SharesInstead(2, spoil);
  ExpectFailure("the self-mask of number 2 stays on: 1 shares came, 4 are needed");
  Start(5);
  SharesInstead(2, spoil);
  played_->DropBefore(2, MessageKind::kInputManifest);
  ExpectFailure("the masks shared with number 2 stay on: 0 shares came, 4 are needed");
}

// Who was sealed a wrong share cannot know it; the fault says that it may have
// been the other's doing.
TEST_F(WrongSharesTest, AShareThatOpensAndIsWrong) {
  for (const bool drops : {false, true}) {
    Start(7);
    SharesInstead(2, [this](const KeyDirectory& directory, Shares& said) {
      std::vector<Bytes> shares = SharesOf(2, 5, 7);
      shares[3][1] ^= 1;
      shares[3][kShareSize + 1] ^= 1;
      Seal(2, directory, shares, said);
    });
    if (drops) played_->DropBefore(2, MessageKind::kInputManifest);
    ExpectExactSum({4});
    ASSERT_EQ(played_->coordinator().faults().size(), 1u);
    EXPECT_EQ(played_->coordinator().faults()[0].what,
              "its share of a secret of number 2 is wrong: it lied, or number 2 sealed it wrongly");
  }
}

TEST_F(WrongSharesTest, SharesThatOpenAndAreWrongForMost) {
  for (const bool drops : {false, true}) {
    Start(5);
    SharesInstead(2, [this](const KeyDirectory& directory, Shares& said) {
      std::vector<Bytes> shares = SharesOf(2, 4, 5);
      for (Bytes& share : shares) share[1] ^= 1, share[kShareSize + 1] ^= 1;
      Seal(2, directory, shares, said);
    });
    if (drops) played_->DropBefore(2, MessageKind::kInputManifest);
    ExpectFailure(drops ? "the masks shared with number 2 stay on: no 4 of 4 shares give the secret"
                        : "the self-mask of number 2 stays on: no 4 of 5 shares give the secret");
  }
}

TEST_F(WrongSharesTest, ACommitmentToAnotherSeed) {
  for (const bool drops : {false, true}) {
    Start(5);
    SharesInstead(3, [this](const KeyDirectory& directory, Shares& said) {
      said.seed_commitment = Sha256Of("another seed");
      Seal(3, directory, SharesOf(3, 4, 5), said);
    });
    if (drops) {  // Its self-mask is not in the sum, and its mask key is as it said.
      played_->DropBefore(3, MessageKind::kInputManifest);
      ExpectExactSum({});
    } else {
      ExpectFailure("the self-mask of number 3 stays on: no 4 of 5 shares give the secret");
    }
  }
}

TEST_F(WrongSharesTest, TooFewSharesOrTooMany) {
  for (const size_t count : {size_t{0}, size_t{3}, size_t{5}}) {
    Start(5);
    SharesInstead(1, [count](const KeyDirectory&, Shares& said) {
      said.sealed.resize(count, Bytes(kSealedSize));
    });
    ExpectExactSum({1});
  }
}

}  // namespace
}  // namespace fedtune
