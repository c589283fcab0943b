// SPDX-License-Identifier: Apache-2.0

// Many clients that share with some neighbours each, and drop out before any
// message.

#include <cstddef>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/secure_round.h"

namespace fedtune {
namespace {

using ::testing::HasSubstr;
using testing::PlayedRound;
using testing::SecureRound;
using Phase = CoordinatorSession::Phase;

#ifdef FEDTUNE_UNDER_SANITIZER
constexpr int kClients = 250;
#else
constexpr int kClients = 600;
#endif

// One client in `every` drops out, before a message drawn for it.
void Play(int clients, uint32_t every, bool federation_key) {
  const SecureRound round({.clients = clients,
                           .elements = 3,
                           .assumed_corrupt = clients / 20,
                           .federation_key = federation_key});
  PlayedRound played(round);
  std::mt19937 random(static_cast<uint32_t>(clients));
  size_t without_input = 0;
  for (uint32_t number = 1; number <= static_cast<uint32_t>(clients); ++number) {
    if (random() % every != 0) continue;
    const auto before = static_cast<MessageKind>(1 + 2 * (random() % 5));
    played.DropBefore(number, before);
    if (before <= MessageKind::kInputManifest) ++without_input;
  }
  played.Play();
  ASSERT_EQ(played.coordinator().phase(), Phase::kDone) << played.coordinator().failure();
  const std::vector<uint32_t> survivors = played.coordinator().Survivors();
  EXPECT_GT(without_input, 0u);
  EXPECT_EQ(survivors.size(), static_cast<size_t>(clients) - without_input);
  EXPECT_EQ(played.Sum(), round.PlainSum(survivors));
  EXPECT_TRUE(played.coordinator().faults().empty());
}

TEST(SparseGraphTest, OneInTwentyDrops) { Play(kClients, 20, false); }

TEST(SparseGraphTest, JustBeyondACompleteGraph) { Play(kLargestCompleteGraph + 1, 12, true); }

TEST(SparseGraphTest, TooManyDropsEndTheRound) {
  const SecureRound round({.clients = 220, .elements = 3, .assumed_corrupt = 11});
  PlayedRound played(round);
  for (uint32_t number = 1; number <= 150; ++number) {
    played.DropBefore(number, MessageKind::kUnmaskShares);
  }
  played.Play();
  EXPECT_EQ(played.coordinator().phase(), Phase::kFailed);
  EXPECT_THAT(played.coordinator().failure(),
              HasSubstr("too few clients gave their shares for unmasking: number 1, number 2"));
}

// A client sees its neighbours only; that there are as many clients as it is told
// it believes no further than the roster goes.
TEST(SparseGraphTest, MoreClientsThanTheRosterHasAreRefused) {
  const SecureRound round({.clients = 220, .elements = 3, .assumed_corrupt = 11});
  PlayedRound played(round);
  played.PlayUntil(Phase::kSharing);
  KeyDirectory directory = *DecodeKeyDirectory(played.coordinator().MessageFor(7));
  directory.client_count = 221;
  const absl::StatusOr<Bytes> answer = played.client(7).Receive(Encode(directory));
  EXPECT_THAT(std::string(answer.status().message()),
              HasSubstr("there are more clients than the signing roster has"));
}

TEST(SparseGraphTest, ANeighborThatIsMissingOrUnprovenIsRefused) {
  const SecureRound round({.clients = 220, .elements = 3, .assumed_corrupt = 11});
  PlayedRound played(round);
  played.PlayUntil(Phase::kSharing);
  const KeyDirectory honest = *DecodeKeyDirectory(played.coordinator().MessageFor(7));
  const auto answered = [&round](const KeyDirectory& directory) {
    ClientSession session = round.Client(7);
    Check(session.Advertise().ok(), "a client advertises");
    return session.Receive(Encode(directory)).ok();
  };
  ASSERT_TRUE(answered(honest));
  for (size_t i = 0; i < honest.entries.size(); ++i) {
    KeyDirectory missing = honest;
    missing.entries.erase(missing.entries.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_FALSE(answered(missing)) << i;
    KeyDirectory unproven = honest;
    unproven.entries[i].proof[0].bytes[0] ^= 1;
    EXPECT_FALSE(answered(unproven)) << i;
  }
}

}  // namespace
}  // namespace fedtune
