// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/session_parameters.h"

#include <functional>
#include <set>
#include <utility>
#include <vector>

#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/secure_round.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::SecureRound;

SessionParameters Sound() {
  return {.federation = "north",
          .run = "run-1",
          .round = 3,
          .element_count = 10,
          .min_cohort = 3,
          .assumed_corrupt = 0};
}

absl::Status Shape(int clients, int min_cohort, int assumed_corrupt) {
  SessionParameters parameters = Sound();
  parameters.min_cohort = min_cohort;
  parameters.assumed_corrupt = assumed_corrupt;
  return ShapeOf(parameters, clients, Digest()).status();
}

using Change = std::function<void(SessionParameters&)>;

TEST(SessionParametersTest, OutOfRange) {
  EXPECT_THAT(CheckSessionParameters(Sound()), IsOk());
  for (const Change& change : std::vector<Change>{
           [](auto& p) { p.element_count = 0; }, [](auto& p) { p.element_count = -1; },
           [](auto& p) { p.element_count = kMostElements + 1; },
           [](auto& p) { p.min_cohort = kLeastCohort - 1; },
           [](auto& p) { p.min_cohort = kMostClients + 1; },
           [](auto& p) { p.assumed_corrupt = -1; }, [](auto& p) { p.round = -1; },
           [](auto& p) { p.attempt = 0; }, [](auto& p) { p.attempt = int64_t{1} << 32; }}) {
    SessionParameters parameters = Sound();
    change(parameters);
    EXPECT_THAT(CheckSessionParameters(parameters), HasCode(absl::StatusCode::kInvalidArgument));
  }
}

TEST(SessionParametersTest, TheIdDependsOnEverything) {
  std::set<Digest> ids = {SessionId(Sound())};
  const std::vector<Change> changes = {
      [](auto& p) { p.federation = "south"; },
      [](auto& p) { p.run = "run-2"; },
      [](auto& p) { p.federation = "northr", p.run = "un-1"; },  // The same text together.
      [](auto& p) { p.round = 4; },
      [](auto& p) { p.attempt = 2; },
      [](auto& p) { p.suite = CipherSuite::kNistP256; },
      [](auto& p) { p.ring = RingBits::k24; },
      [](auto& p) { p.element_count = 11; },
      [](auto& p) { p.plan = Sha256Of("plan"); },
      [](auto& p) { p.roster = Sha256Of("roster"); },
      [](auto& p) { p.min_cohort = 4; },
      [](auto& p) { p.assumed_corrupt = 1; }};
  for (const Change& change : changes) {
    SessionParameters parameters = Sound();
    change(parameters);
    ids.insert(SessionId(parameters));
  }
  EXPECT_EQ(ids.size(), changes.size() + 1);
  EXPECT_EQ(SessionId(Sound()), SessionId(Sound()));
}

// Clients, threshold, clients that may side with the coordinator, and that may
// drop out.
struct Row {
  int clients;
  int threshold;
  int corrupt;
  int dropped;
};

class ThresholdsTest : public ::testing::TestWithParam<Row> {};

TEST_P(ThresholdsTest, OfACompleteGraph) {
  const Row row = GetParam();
  SessionParameters parameters = Sound();
  parameters.assumed_corrupt = row.corrupt;
  const absl::StatusOr<CohortShape> shape = ShapeOf(parameters, row.clients, Digest());
  ASSERT_THAT(shape, IsOk());
  EXPECT_EQ(shape->threshold, row.threshold);
  EXPECT_EQ(shape->least_survivors, row.threshold);
  EXPECT_EQ(row.clients - shape->threshold, row.dropped);
  EXPECT_EQ(shape->graph.degree(), row.clients - 1);
  EXPECT_THAT(Shape(row.clients, 3, row.corrupt + 1),
              HasCode(absl::StatusCode::kFailedPrecondition));
}

INSTANTIATE_TEST_SUITE_P(Table, ThresholdsTest,
                         ::testing::Values(Row{5, 4, 2, 1}, Row{10, 7, 3, 3}, Row{50, 34, 17, 16},
                                           Row{200, 134, 67, 66}));

TEST(ThresholdsTest, HoldAgainstTwoStoriesForEveryCompleteGraph) {
  for (int clients = kLeastCohort; clients <= kLargestCompleteGraph; ++clients) {
    const int threshold = CompleteGraphThreshold(clients);
    EXPECT_GT(2 * threshold, clients) << clients;
    EXPECT_LE(threshold, clients) << clients;
  }
}

TEST(CohortTest, TooSmallOrTooLarge) {
  EXPECT_THAT(Shape(2, 3, 0), HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Shape(3, 3, 0), IsOk());
  EXPECT_THAT(Shape(9, 10, 0), HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Shape(10, 10, 0), IsOk());
  // Whatever the parameters say, two are too few.
  EXPECT_THAT(Shape(2, 1, 0), HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Shape(kMostClients + 1, 3, 0), HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST(CohortTest, NoMoreThanTheRingHoldsTheSumOf) {
  SessionParameters parameters = Sound();
  parameters.max_cohort = 10;
  EXPECT_THAT(ShapeOf(parameters, 10, Digest()), IsOk());
  const absl::StatusOr<CohortShape> shape = ShapeOf(parameters, 11, Digest());
  EXPECT_THAT(shape, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Message(shape.status()), HasSubstr("11 clients are too many"));
}

TEST(CohortTest, ReleasesNothingBelowTheLeastCohort) {
  SessionParameters parameters = Sound();
  parameters.min_cohort = 9;
  const absl::StatusOr<CohortShape> shape = ShapeOf(parameters, 10, Digest());
  ASSERT_THAT(shape, IsOk());
  EXPECT_EQ(shape->threshold, 7);
  EXPECT_EQ(shape->least_survivors, 9);
}

TEST(CohortTest, GraphsAreSparseBeyondTwoHundred) {
  SessionParameters parameters = Sound();
  parameters.assumed_corrupt = 50;
  const absl::StatusOr<CohortShape> shape = ShapeOf(parameters, 1000, Sha256Of("root"));
  ASSERT_THAT(shape, IsOk());
  EXPECT_EQ(shape->graph.degree(), 78);
  EXPECT_EQ(shape->threshold, 52);
  // Nobody holds against as many as that.
  EXPECT_THAT(Shape(201, 3, 195), HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Shape(201, 3, 201), HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST(FloorTest, APlanBelowThePolicyIsRefused) {
  const SecureRound round({.clients = 10, .min_cohort = 5, .assumed_corrupt = 2});
  ClientSession::Options options = round.ClientOptions(1);
  options.floor = {.min_cohort = 5, .assumed_corrupt = 2};
  EXPECT_THAT(ClientSession::Create(std::move(options)), IsOk());
  options = round.ClientOptions(1);
  options.floor.min_cohort = 6;
  EXPECT_THAT(ClientSession::Create(std::move(options)),
              HasCode(absl::StatusCode::kFailedPrecondition));
  options = round.ClientOptions(1);
  options.floor.assumed_corrupt = 3;
  EXPECT_THAT(ClientSession::Create(std::move(options)),
              HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST(FloorTest, AKeyThatIsNotTheRostersIsRefused) {
  const SecureRound round({.clients = 4});
  ClientSession::Options options = round.ClientOptions(1);
  options.key = testing::SigningKeyOf(CipherSuite::kCurve25519, 2);
  EXPECT_THAT(ClientSession::Create(std::move(options)),
              HasCode(absl::StatusCode::kInvalidArgument));
  options = round.ClientOptions(1);
  options.signing_keys.erase(1);
  EXPECT_THAT(ClientSession::Create(std::move(options)),
              HasCode(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace fedtune
