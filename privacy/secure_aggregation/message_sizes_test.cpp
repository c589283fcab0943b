// SPDX-License-Identifier: Apache-2.0

// What a client sends in a whole session, with clients dropping out: beside its
// masked vector 96 + 40 bytes for each neighbour, a bit for each, and about half
// a kilobyte.

#include <algorithm>
#include <cstddef>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/secure_round.h"

namespace fedtune {
namespace {

using testing::PlayedRound;
using testing::SecureRound;
using testing::SecureRoundOptions;
using Phase = CoordinatorSession::Phase;

constexpr size_t kForEachNeighbor = 96 + 40;
// What does not grow: two public keys, four signatures, seven digests, one share
// of the client's own seed, numbers and counts.
constexpr size_t kFixed = 560;
constexpr size_t kFixedOnP256 = kFixed + 2 * (65 - 32);
constexpr size_t kFederationKey = 32;

// The most that a client sent in the round, over all clients.
size_t MostSent(SecureRoundOptions options, MessageKind drops_before) {
  const SecureRound round(options);
  PlayedRound played(round);
  played.DropBefore(2, drops_before);
  played.Play();
  Check(played.coordinator().phase() == Phase::kDone, played.coordinator().failure());
  size_t most = 0;
  for (const uint32_t number : played.coordinator().Survivors()) {
    most = std::max(most, played.client(number).bytes_sent());
  }
  return most;
}

constexpr size_t Bound(size_t neighbors, size_t fixed) {
  return neighbors * kForEachNeighbor + (neighbors + 8) / 8 + fixed;
}

#ifdef FEDTUNE_UNDER_SANITIZER
constexpr int kManyClients = 60;
#else
constexpr int kManyClients = 100;
#endif

TEST(MessageSizesTest, CompleteGraphs) {
  for (const int clients : {4, 10, 50, kManyClients}) {
    const auto neighbors = static_cast<size_t>(clients) - 1;
    for (const auto drops : {MessageKind::kInputManifest, MessageKind::kAgreement}) {
      SCOPED_TRACE(std::to_string(clients) + " " + std::to_string(static_cast<int>(drops)));
      const size_t sent = MostSent({.clients = clients, .elements = 3}, drops);
      EXPECT_LE(sent, Bound(neighbors, kFixed));
      EXPECT_GT(sent, neighbors * kForEachNeighbor);
    }
  }
}

TEST(MessageSizesTest, WithAFederationKeyAndOnP256) {
  for (const int clients : {4, 10}) {
    const auto neighbors = static_cast<size_t>(clients) - 1;
    EXPECT_LE(MostSent({.clients = clients, .elements = 3, .federation_key = true},
                       MessageKind::kInputManifest),
              Bound(neighbors, kFixed + kFederationKey));
    EXPECT_LE(MostSent({.clients = clients, .elements = 3, .suite = CipherSuite::kNistP256},
                       MessageKind::kInputManifest),
              Bound(neighbors, kFixedOnP256));
  }
}

TEST(MessageSizesTest, SparseGraphsSendByNeighborsNotByClients) {
  SecureRoundOptions options{.clients = 300, .elements = 3, .assumed_corrupt = 15};
  const SecureRound round(options);
  const CohortShape shape = *ShapeOf(round.parameters(), 300, Digest());
  ASSERT_LT(shape.graph.degree(), 100);
  EXPECT_LE(MostSent(options, MessageKind::kInputManifest),
            Bound(static_cast<size_t>(shape.graph.degree()), kFixed));
}

}  // namespace
}  // namespace fedtune
