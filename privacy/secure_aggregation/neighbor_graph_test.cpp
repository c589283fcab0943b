// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/neighbor_graph.h"

#include <algorithm>
#include <initializer_list>
#include <set>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

using ::testing::Contains;

TEST(NeighborGraphTest, InACompleteGraphEveryoneIsANeighbour) {
  const NeighborGraph graph = NeighborGraph::Complete(4);
  EXPECT_EQ(graph.degree(), 3);
  for (int client = 0; client < 4; ++client) {
    EXPECT_THAT(graph.ClosedNeighborhood(client), ::testing::ElementsAre(0, 1, 2, 3));
  }
}

void ExpectNeighborsWhoBothKnow(const NeighborGraph& graph, int client, int degree) {
  const auto neighborhood = graph.ClosedNeighborhood(client);
  EXPECT_EQ(std::ssize(neighborhood), degree + 1);
  EXPECT_TRUE(std::is_sorted(neighborhood.begin(), neighborhood.end()));
  EXPECT_THAT(neighborhood, Contains(client));
  for (const int other : neighborhood) {
    EXPECT_THAT(graph.ClosedNeighborhood(other), Contains(client));
  }
}

TEST(NeighborGraphTest, InAHararyGraphEveryoneHasAsManyAndBothKnow) {
  for (const auto& [clients, degree] : std::initializer_list<std::pair<int, int>>{
           {5, 2}, {64, 2}, {301, 2}, {5, 4}, {64, 4}, {301, 4}}) {
    const NeighborGraph graph = NeighborGraph::Harary(clients, degree, Sha256Of("seed"));
    for (int client = 0; client < clients; ++client) {
      ExpectNeighborsWhoBothKnow(graph, client, degree);
    }
  }
}

TEST(NeighborGraphTest, AHararyGraphIsConnected) {
  const NeighborGraph graph = NeighborGraph::Harary(200, 4, Sha256Of("seed"));
  std::set<int> seen = {0};
  std::vector<int> open = {0};
  while (!open.empty()) {
    const int client = open.back();
    open.pop_back();
    for (const int other : graph.ClosedNeighborhood(client)) {
      if (seen.insert(other).second) open.push_back(other);
    }
  }
  EXPECT_EQ(seen.size(), 200u);
}

TEST(NeighborGraphTest, TheSeedDecidesWhoIsWhoseNeighbour) {
  const auto neighbours_of = [](std::string_view seed) {
    const NeighborGraph graph = NeighborGraph::Harary(100, 10, Sha256Of(seed));
    const auto neighborhood = graph.ClosedNeighborhood(0);
    return std::vector<int>(neighborhood.begin(), neighborhood.end());
  };
  EXPECT_EQ(neighbours_of("a"), neighbours_of("a"));
  EXPECT_NE(neighbours_of("a"), neighbours_of("b"));
}

// Over many seeds each pair is as often neighbours as the degree says.
TEST(NeighborGraphTest, NobodyIsPreferred) {
  constexpr int kSeeds = 3000;
  std::vector<int> met(20);
  for (int seed = 0; seed < kSeeds; ++seed) {
    const NeighborGraph graph = NeighborGraph::Harary(20, 4, Sha256Of(std::to_string(seed)));
    for (const int other : graph.ClosedNeighborhood(0)) ++met[static_cast<size_t>(other)];
  }
  for (int other = 1; other < 20; ++other) {
    EXPECT_NEAR(met[static_cast<size_t>(other)], kSeeds * 4.0 / 19, 5 * 22.3);  // Five sigma.
  }
}

}  // namespace
}  // namespace fedtune
