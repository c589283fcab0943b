// SPDX-License-Identifier: Apache-2.0

// Every client may drop before every message: each of the combinations ends with
// the exact sum over the survivors, or without any. Of six clients those in which
// they drop before at most two different messages are tried; with
// FEDTUNE_EXHAUSTIVE=1 in the environment all of them, in six minutes.

#include <algorithm>
#include <array>
#include <cstdlib>
#include <random>
#include <set>
#include <tuple>

#include "gtest/gtest.h"
#include "privacy/secure_aggregation/session_parameters.h"
#include "tests/support/secure_round.h"

namespace fedtune {
namespace {

using testing::PlayedRound;
using testing::SecureRound;
using Phase = CoordinatorSession::Phase;

// Before which message a client goes silent; the last one stands for never.
constexpr std::array kDrops = {MessageKind::kAdvertisement, MessageKind::kShares,
                               MessageKind::kInputManifest, MessageKind::kAgreement,
                               MessageKind::kUnmaskShares,  static_cast<MessageKind>(99)};

using Schedule = std::vector<size_t>;  // Of each client, an index into kDrops.

int64_t StillThere(const Schedule& schedule, MessageKind kind) {
  return std::count_if(schedule.begin(), schedule.end(),
                       [kind](size_t drop) { return kDrops[drop] > kind; });
}

// Whether the protocol promises a sum: in each phase enough clients are left.
bool MustSucceed(const Schedule& schedule) {
  const int64_t advertised = StillThere(schedule, MessageKind::kAdvertisement);
  if (advertised < kLeastCohort) return false;
  const int64_t threshold = CompleteGraphThreshold(static_cast<int>(advertised));
  const int64_t least = std::max<int64_t>(threshold, kLeastCohort);
  return StillThere(schedule, MessageKind::kInputManifest) >= least &&
         StillThere(schedule, MessageKind::kUnmaskShares) >= threshold;
}

// 1: a sum; 0: none. Anything that is not as promised fails the test.
int Play(const Schedule& schedule) {
  const SecureRound round({.clients = static_cast<int>(schedule.size()), .elements = 3});
  PlayedRound played(round);
  for (size_t i = 0; i < schedule.size(); ++i) {
    played.DropBefore(static_cast<uint32_t>(i + 1), kDrops[schedule[i]]);
  }
  played.Play();
  const bool done = played.coordinator().phase() == Phase::kDone;
  EXPECT_EQ(done, MustSucceed(schedule)) << ::testing::PrintToString(schedule);
  if (!done) return 0;
  EXPECT_EQ(static_cast<int64_t>(played.coordinator().Survivors().size()),
            StillThere(schedule, MessageKind::kInputManifest));
  EXPECT_EQ(played.Sum(), round.PlainSum(played.coordinator().Survivors()))
      << ::testing::PrintToString(schedule);
  return 1;
}

bool IsTried(const Schedule& schedule) {
  static const bool kAll = std::getenv("FEDTUNE_EXHAUSTIVE") != nullptr;
  std::set<size_t> drops(schedule.begin(), schedule.end());
  drops.erase(kDrops.size() - 1);
  return schedule.size() < 6 || drops.size() <= 2 || kAll;
}

// All schedules of as many clients in which the first one drops at `first`.
void PlayAll(int clients, size_t first) {
  Schedule schedule(static_cast<size_t>(clients));
  schedule[0] = first;
  int sums = 0;
  while (true) {
    if (IsTried(schedule)) sums += Play(schedule);
    size_t at = 1;
    while (at < schedule.size() && ++schedule[at] == kDrops.size()) schedule[at++] = 0;
    if (at == schedule.size()) break;
  }
  EXPECT_TRUE(sums > 0 || first + 1 < kDrops.size());
}

class DropoutsTest : public ::testing::TestWithParam<std::tuple<int, size_t>> {};

TEST_P(DropoutsTest, EverySubsetAtEveryMessage) {
  PlayAll(std::get<0>(GetParam()), std::get<1>(GetParam()));
}

#ifdef FEDTUNE_UNDER_SANITIZER
constexpr int kMostClientsTried = 4;
#else
constexpr int kMostClientsTried = 6;
#endif

INSTANTIATE_TEST_SUITE_P(UpToSixClients, DropoutsTest,
                         ::testing::Combine(::testing::Range(3, kMostClientsTried + 1),
                                            ::testing::Range(size_t{0}, kDrops.size())));

// Random sizes and moments, up to the largest complete graph.
TEST(ManyDropoutsTest, RandomSchedules) {
  for (uint32_t seed = 0; seed < 12; ++seed) {
    std::mt19937 random(seed);
    const size_t clients = seed == 0 ? kLargestCompleteGraph : 7 + random() % 40;
    Schedule schedule(clients, kDrops.size() - 1);
    const size_t drops = random() % (clients / 3 + 2);
    for (size_t i = 0; i < drops; ++i) schedule[random() % clients] = random() % kDrops.size();
    Play(schedule);
  }
}

}  // namespace
}  // namespace fedtune
