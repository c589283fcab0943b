// SPDX-License-Identifier: Apache-2.0

// Clients and an honest coordinator, from the first message to the sum.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/secure_round.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::IsOk;
using testing::PlayedRound;
using testing::SecureRound;
using testing::SecureRoundOptions;
using Phase = CoordinatorSession::Phase;

// The sum is exactly that of the survivors, and only it.
void ExpectExactSum(const SecureRound& round, PlayedRound& played) {
  EXPECT_EQ(played.Sum(), round.PlainSum(played.coordinator().Survivors()));
}

struct Setting {
  RingBits ring;
  CipherSuite suite;
  bool federation_key;
};

class SessionTest : public ::testing::TestWithParam<Setting> {
 protected:
  SecureRound Round(int clients) const {
    return SecureRound({.clients = clients,
                        .ring = GetParam().ring,
                        .suite = GetParam().suite,
                        .federation_key = GetParam().federation_key});
  }
};

TEST_P(SessionTest, EveryoneAnswers) {
  const SecureRound round = Round(5);
  PlayedRound played(round);
  played.Play();
  ASSERT_EQ(played.coordinator().phase(), Phase::kDone) << played.coordinator().failure();
  EXPECT_EQ(played.coordinator().Survivors().size(), 5u);
  ExpectExactSum(round, played);
  EXPECT_NE(played.MaskedSum(), played.Sum());
}

TEST_P(SessionTest, OneDropsBeforeEachMessage) {
  for (const auto kind :
       {MessageKind::kAdvertisement, MessageKind::kShares, MessageKind::kInputManifest,
        MessageKind::kAgreement, MessageKind::kUnmaskShares}) {
    const SecureRound round = Round(5);
    PlayedRound played(round);
    played.DropBefore(2, kind);
    played.Play();
    ASSERT_EQ(played.coordinator().phase(), Phase::kDone)
        << static_cast<int>(kind) << " " << played.coordinator().failure();
    EXPECT_EQ(played.coordinator().Survivors().size(),
              kind > MessageKind::kInputManifest ? 5u : 4u);
    ExpectExactSum(round, played);
  }
}

INSTANTIATE_TEST_SUITE_P(Settings, SessionTest,
                         ::testing::Values(Setting{RingBits::k32, CipherSuite::kCurve25519, false},
                                           Setting{RingBits::k32, CipherSuite::kCurve25519, true},
                                           Setting{RingBits::k24, CipherSuite::kCurve25519, false},
                                           Setting{RingBits::k16, CipherSuite::kCurve25519, true},
                                           Setting{RingBits::k32, CipherSuite::kNistP256, false},
                                           Setting{RingBits::k24, CipherSuite::kNistP256, true}));

TEST(SessionTest, LosesTooManyAndGivesUpWithoutASum) {
  const SecureRound round({.clients = 5});
  PlayedRound played(round);
  played.DropBefore(1, MessageKind::kInputManifest);
  played.DropBefore(2, MessageKind::kInputManifest);
  played.Play();
  EXPECT_EQ(played.coordinator().phase(), Phase::kFailed);
  EXPECT_EQ(played.coordinator().failure(), "3 masked contributions arrived, 4 are needed");
}

TEST(SessionTest, SparseGraphOfManyClients) {
  const SecureRound round({.clients = 260, .assumed_corrupt = 13});
  PlayedRound played(round);
  for (uint32_t number = 10; number < 260; number += 20) {
    played.DropBefore(number,
                      number % 40 == 10 ? MessageKind::kInputManifest : MessageKind::kUnmaskShares);
  }
  played.Play();
  ASSERT_EQ(played.coordinator().phase(), Phase::kDone) << played.coordinator().failure();
  EXPECT_LT(played.coordinator().Survivors().size(), 260u);
  ExpectExactSum(round, played);
}

}  // namespace
}  // namespace fedtune
