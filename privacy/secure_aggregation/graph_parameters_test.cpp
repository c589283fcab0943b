// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/graph_parameters.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;

struct Known {
  int clients;
  double corrupt;
  double dropped;
  Adversary adversary;
  GraphParameters expected;
};

void Expect(const std::vector<Known>& table) {
  for (const Known& known : table) {
    const auto found =
        FindGraphParameters(known.clients, known.corrupt, known.dropped, known.adversary);
    ASSERT_THAT(found, IsOk());
    EXPECT_EQ(found->degree, known.expected.degree) << known.clients << " " << known.corrupt;
    EXPECT_EQ(found->threshold, known.expected.threshold) << known.clients << " " << known.corrupt;
  }
}

// Values that google-parfait's federated-compute gives in its own tests.
TEST(GraphParametersTest, EqualsFederatedComputesValues) {
  Expect({{100, .33, .05, Adversary::kSemiMalicious, {42, 37}},
          {1000, .33, .05, Adversary::kSemiMalicious, {132, 109}},
          {100, .05, .05, Adversary::kSemiMalicious, {16, 11}},
          {10'000, .05, .05, Adversary::kSemiMalicious, {62, 44}},
          {1000, .05, .33, Adversary::kSemiMalicious, {398, 223}},
          {1000, .33, .33, Adversary::kCurious, {286, 150}},
          {100, .45, .45, Adversary::kCurious, {92, 46}}});
}

TEST(GraphParametersTest, EqualsTheTableForCuriousCoordinators) {
  Expect({{50, .05, .1, Adversary::kCurious, {8, 3}},
          {50, .2, .1, Adversary::kCurious, {16, 11}},
          {50, .1, .2, Adversary::kCurious, {16, 6}},
          {100, .05, .1, Adversary::kCurious, {16, 6}},
          {100, .2, .1, Adversary::kCurious, {32, 21}},
          {100, .1, .2, Adversary::kCurious, {28, 11}},
          {200, .05, .1, Adversary::kCurious, {24, 11}},
          {200, .2, .1, Adversary::kCurious, {46, 30}},
          {200, .1, .2, Adversary::kCurious, {44, 20}},
          {1000, .05, .1, Adversary::kCurious, {36, 19}},
          {1000, .2, .1, Adversary::kCurious, {68, 44}},
          {1000, .1, .2, Adversary::kCurious, {66, 31}},
          {10'000, .05, .1, Adversary::kCurious, {42, 22}},
          {10'000, .2, .1, Adversary::kCurious, {80, 51}},
          {10'000, .1, .2, Adversary::kCurious, {78, 37}},
          {100'000, .05, .1, Adversary::kCurious, {46, 23}},
          {100'000, .2, .1, Adversary::kCurious, {88, 55}},
          {100'000, .1, .2, Adversary::kCurious, {86, 41}}});
}

TEST(GraphParametersTest, EqualsTheTableForLyingCoordinators) {
  Expect({{50, .05, .1, Adversary::kSemiMalicious, {14, 9}},
          {50, .2, .1, Adversary::kSemiMalicious, {22, 17}},
          {50, .1, .2, Adversary::kSemiMalicious, {26, 16}},
          {100, .05, .1, Adversary::kSemiMalicious, {26, 16}},
          {100, .2, .1, Adversary::kSemiMalicious, {42, 32}},
          {100, .1, .2, Adversary::kSemiMalicious, {52, 32}},
          {200, .05, .1, Adversary::kSemiMalicious, {42, 27}},
          {200, .2, .1, Adversary::kSemiMalicious, {76, 57}},
          {200, .1, .2, Adversary::kSemiMalicious, {88, 55}},
          {1000, .05, .1, Adversary::kSemiMalicious, {78, 52}},
          {1000, .2, .1, Adversary::kSemiMalicious, {140, 104}},
          {1000, .1, .2, Adversary::kSemiMalicious, {194, 124}},
          {10'000, .05, .1, Adversary::kSemiMalicious, {96, 64}},
          {10'000, .2, .1, Adversary::kSemiMalicious, {184, 136}},
          {10'000, .1, .2, Adversary::kSemiMalicious, {280, 179}},
          {100'000, .05, .1, Adversary::kSemiMalicious, {106, 70}},
          {100'000, .2, .1, Adversary::kSemiMalicious, {204, 150}},
          {100'000, .1, .2, Adversary::kSemiMalicious, {312, 199}}});
}

// Without corrupt clients the ring's connection decides: with 200 of 1000 dropped,
// 16 neighbours leave two holders of shares often enough, but two runs of 13
// dropped clients are the first that are rarer than 2^-41.
TEST(GraphParametersTest, TheSurvivorsStayConnected) {
  Expect({{1000, 0, .2, Adversary::kCurious, {26, 2}}, {1000, 0, 0, Adversary::kCurious, {2, 2}}});
}

TEST(GraphParametersTest, NoSingleShareIsASecret) {
  for (const int clients : {10, 100, 1000}) {
    const auto found = FindGraphParameters(clients, 0, 0, Adversary::kCurious);
    ASSERT_THAT(found, IsOk());
    EXPECT_GE(found->threshold, 2);
  }
}

TEST(GraphParametersTest, RefusesSharesThatAreNone) {
  const auto refused = HasCode(absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(FindGraphParameters(100, 1, .1, Adversary::kCurious), refused);
  EXPECT_THAT(FindGraphParameters(100, -.1, .1, Adversary::kCurious), refused);
  EXPECT_THAT(FindGraphParameters(100, .1, 2, Adversary::kCurious), refused);
  EXPECT_THAT(FindGraphParameters(2, .1, .1, Adversary::kCurious), refused);
}

TEST(GraphParametersTest, SaysWhenNoGraphIsGoodEnough) {
  EXPECT_THAT(FindGraphParameters(10, .5, .5, Adversary::kSemiMalicious),
              HasCode(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace fedtune
