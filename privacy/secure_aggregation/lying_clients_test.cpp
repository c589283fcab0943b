// SPDX-License-Identifier: Apache-2.0

// Clients that lie to an honest coordinator, with wrong keys or garbage: they are
// named, and the sum over the survivors is exact.

#include "tests/support/lying_clients.h"

#include <random>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::InsteadOf;
using testing::IsOk;
using testing::LyingClientsTest;
using testing::Named;
using testing::Numbers;
using testing::PlayedRound;
using testing::SecretOf;
using testing::SecureClient;
using testing::SigningKeyOf;
using Phase = CoordinatorSession::Phase;

Bytes Spoilt(Bytes message, std::mt19937& random) {
  switch (random() % 4) {
    case 0:
      message[1 + random() % (message.size() - 1)] ^= static_cast<uint8_t>(1 << random() % 8);
      break;
    case 1:
      message.resize(1 + random() % (message.size() - 1));
      break;
    case 2:
      message.push_back(0);
      break;
    default:
      for (size_t i = 1; i < message.size(); ++i) message[i] = static_cast<uint8_t>(random());
      break;
  }
  return message;
}

// ---- Wrong keys ----

TEST_F(LyingClientsTest, AKeyOfSomebodyElse) {
  Start(5);
  AdvertisesInstead(
      4, [this](Advertisement& said) { said.mask_key = SecretsOf(1).mask_key().public_key(); });
  ExpectExactSum({4});
}

TEST_F(LyingClientsTest, TheSameKeyTwice) {
  Start(5);
  AdvertisesInstead(4, [](Advertisement& said) { said.mask_key = said.share_key; });
  ExpectExactSum({4});
}

TEST_F(LyingClientsTest, KeysThatAgreeOnNothing) {
  for (const size_t size : {size_t{32}, size_t{0}, size_t{31}, size_t{65}}) {
    Start(5);
    AdvertisesInstead(2, [size](Advertisement& said) { said.share_key = Bytes(size); });
    ExpectExactSum({2});
  }
}

TEST_F(LyingClientsTest, AnotherModelNumberOrSignature) {
  Start(6);
  AdvertisesInstead(1, [](Advertisement& said) { said.model = Sha256Of("another"); });
  ExpectExactSum({1});
  Start(6);
  AdvertisesInstead(2, [](Advertisement& said) { said.number = 3; });
  ExpectExactSum({2});
  Start(6);
  played_->Lies(3, InsteadOf(MessageKind::kAdvertisement, [](const Bytes&, const Bytes& answer) {
                  Advertisement said = *DecodeAdvertisement(answer);
                  said.signature = SigningKeyOf(kSuite, 4)->Sign(said.signature);
                  return Encode(said);
                }));
  ExpectExactSum({3});
}

// The key from which it masks is not the one that it shares: nobody misses it
// unless it drops out.
TEST_F(LyingClientsTest, AMaskKeyThatIsNotTheOneShared) {
  const auto other = [](Advertisement& said) {
    said.mask_key = AgreementKey::FromSeed(kSuite, SecretOf(0x66)).public_key();
  };
  Start(5);
  AdvertisesInstead(2, other);
  // This client's own session sees that its keys are not as it sent them.
  ExpectExactSum({});
  EXPECT_EQ(played_->coordinator().Survivors(), (std::vector<uint32_t>{1, 3, 4, 5}));
}

// ---- Federation keys ----

TEST_F(LyingClientsTest, AnotherFederationKeyWhoeverComesFirst) {
  for (const uint32_t liar : {1u, 3u}) {
    Start(5, true);
    AdvertisesInstead(liar, [](Advertisement& said) { said.mask_salt_check = Sha256Of("other"); });
    ExpectExactSum({liar});
  }
  Start(5, true);
  AdvertisesInstead(1, [](Advertisement& said) { said.mask_salt_check = Digest(); });
  ExpectExactSum({1});
}

PlayedRound::Lie KeepsFederationKeyBack() {
  return InsteadOf(MessageKind::kUnmaskShares, [](const Bytes&, const Bytes& answer) {
    UnmaskShares said = *DecodeUnmaskShares(answer);
    said.mask_salt.reset();
    return Encode(said);
  });
}

TEST_F(LyingClientsTest, APartOfTheFederationKeyThatIsWrongOrKeptBack) {
  Start(7, true);
  played_->DropBefore(7, MessageKind::kInputManifest);
  played_->Lies(1, InsteadOf(MessageKind::kUnmaskShares, [](const Bytes&, const Bytes& answer) {
                  UnmaskShares said = *DecodeUnmaskShares(answer);
                  said.mask_salt = SecretOf(9);
                  return Encode(said);
                }));
  ExpectExactSum({1});
  Start(7, true);
  played_->DropBefore(7, MessageKind::kInputManifest);
  played_->Lies(1, KeepsFederationKeyBack());
  ExpectExactSum({1});
}

TEST_F(LyingClientsTest, NobodyGivesThePartOfTheFederationKey) {
  Start(5, true);
  played_->DropBefore(5, MessageKind::kInputManifest);
  for (uint32_t number = 1; number <= 4; ++number) {
    played_->Lies(number, KeepsFederationKeyBack());
  }
  ExpectFailure("too few clients gave their shares for unmasking");
  EXPECT_EQ(Named(*played_), (Numbers{1, 2, 3, 4}));
}

// ---- Inputs ----

TEST_F(LyingClientsTest, ASecondInputIsNotAskedFor) {
  Start(4);
  played_->PlayUntil(Phase::kCollecting);
  SecureClient& client = played_->client(2);
  ASSERT_THAT(client.Receive(played_->coordinator().MessageFor(2)), IsOk());
  const Bytes manifest = client.MaskedInput()->manifest;
  CoordinatorSession& coordinator = played_->coordinator();
  EXPECT_THAT(coordinator.CheckInput(2, manifest), IsOk());
  EXPECT_THAT(coordinator.Receive(2, manifest), IsOk());
  EXPECT_THAT(coordinator.CheckInput(2, manifest), HasCode(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(coordinator.Receive(2, manifest), IsOk());
}

// ---- Garbage ----

class GarbageTest : public LyingClientsTest, public ::testing::WithParamInterface<MessageKind> {};

TEST_P(GarbageTest, InPlaceOfAMessage) {
  std::mt19937 random(2);
  for (int run = 0; run < 60; ++run) {
    SCOPED_TRACE(run);
    Start(5);
    played_->Lies(4, InsteadOf(GetParam(), [&random](const Bytes&, const Bytes& answer) {
                    return Spoilt(answer, random);
                  }));
    ExpectExactSum({4});
  }
}

INSTANTIATE_TEST_SUITE_P(EachMessage, GarbageTest,
                         ::testing::Values(MessageKind::kAdvertisement, MessageKind::kShares,
                                           MessageKind::kInputManifest, MessageKind::kAgreement,
                                           MessageKind::kUnmaskShares));

TEST_F(LyingClientsTest, AMessageThatIsNoneAtAll) {
  for (const Bytes& nonsense : {Bytes{0}, Bytes{10, 1, 2}, Bytes(kLargestMessage + 1, 3)}) {
    Start(5);
    played_->Lies(4, [&nonsense](const Bytes&, const Bytes&) { return nonsense; });
    ExpectExactSum({4});
  }
}

// Everyone who may be spared lies at random, and some drop out afterwards.
class RandomLiesTest : public LyingClientsTest {
 protected:
  void LieAtRandom(uint32_t liar, std::mt19937& random) {
    const auto kind = static_cast<MessageKind>(1 + 2 * (random() % 5));
    if (random() % 3 == 0) {
      UnmasksWrongly(liar);
    } else {
      played_->Lies(liar, InsteadOf(kind, [&random](const Bytes&, const Bytes& answer) {
                      return Spoilt(answer, random);
                    }));
    }
    if (random() % 4 == 0) played_->DropBefore(liar, MessageKind::kUnmaskShares);
  }

  // Whether there is a sum, which is then exact.
  bool Play(uint32_t seed) {
    std::mt19937 random(seed);
    const auto clients = static_cast<int>(4 + random() % 7);
    Start(clients, random() % 2 == 0);
    Numbers liars;
    const int most = clients - CompleteGraphThreshold(clients);
    for (int i = 0; i < most; ++i) liars.insert(1 + random() % static_cast<uint32_t>(clients));
    for (const uint32_t liar : liars) LieAtRandom(liar, random);
    played_->Play();
    for (const uint32_t named : Named(*played_)) EXPECT_TRUE(liars.contains(named)) << named;
    if (played_->coordinator().phase() == Phase::kDone) {
      EXPECT_EQ(played_->Sum(), round_->PlainSum(played_->coordinator().Survivors()));
      return true;
    }
    // Fewer advertised, so that fewer can be spared.
    EXPECT_NE(played_->coordinator().failure(), "");
    return false;
  }
};

TEST_F(RandomLiesTest, EndInAnExactSumOrAReason) {
  int sums = 0;
  for (uint32_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    if (Play(seed)) ++sums;
  }
  EXPECT_GT(sums, 150);
}

}  // namespace
}  // namespace fedtune
