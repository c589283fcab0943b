// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rounds/contribution_check.h"

#include <cmath>
#include <functional>
#include <limits>

#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using fedtune::testing::HasCode;
using fedtune::testing::IsOk;
using ::testing::HasSubstr;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

ExpectedContribution Round() {
  return {.adapter = Sha256Of("adapter"),
          .layout = Sha256Of("layout"),
          .factors = FactorSet::kB,
          .value_count = 10};
}

ContributionHeader Good() {
  return {.adapter = Sha256Of("adapter"),
          .layout = Sha256Of("layout"),
          .factors = 2,
          .size_bytes = 40,
          .metrics = {.training_loss = 1.5,
                      .steps = 4,
                      .before = {{.loss = 2, .accuracy = 0.5, .example_count = 7}}}};
}

void ExpectRefused(const std::function<void(ContributionHeader&)>& spoil,
                   std::string_view message) {
  ContributionHeader header = Good();
  spoil(header);
  const absl::Status status = CheckHeader(header, Round());
  EXPECT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Message(status), HasSubstr(message));
}

TEST(CheckHeaderTest, TakesWhatFits) { EXPECT_THAT(CheckHeader(Good(), Round()), IsOk()); }

TEST(CheckHeaderTest, RefusesAnotherAdapter) {
  ContributionHeader header = Good();
  header.adapter = Sha256Of("older");
  EXPECT_THAT(CheckHeader(header, Round()), HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST(CheckHeaderTest, RefusesAnotherLayout) {
  ExpectRefused([](auto& header) { header.layout = Sha256Of("x"); }, "has layout sha256:");
}

TEST(CheckHeaderTest, RefusesOtherFactors) {
  for (const uint32_t factors : {0u, 1u, 3u, 4u, 0x80000002u}) {
    ExpectRefused([&](auto& header) { header.factors = factors; }, "the round trains 2");
  }
}

TEST(CheckHeaderTest, RefusesAnotherSize) {
  for (const uint64_t size : {uint64_t{0}, uint64_t{39}, uint64_t{44}, UINT64_MAX}) {
    ExpectRefused([&](auto& header) { header.size_bytes = size; }, "40 are expected");
  }
}

TEST(CheckHeaderTest, RefusesLossesThatAreNotFinite) {
  ExpectRefused([](auto& header) { header.metrics.training_loss = std::nan(""); },
                "training has diverged");
  ExpectRefused([](auto& header) { header.metrics.training_loss = -kInfinity; }, "diverged");
  ExpectRefused([](auto& header) { header.metrics.before->loss = kInfinity; },
                "evaluation loss that is not finite");
}

// Of which sums with weights would be none.
TEST(CheckHeaderTest, RefusesLossesBeyondAny) {
  ExpectRefused([](auto& header) { header.metrics.training_loss = 1e308; }, "diverged");
  ExpectRefused([](auto& header) { header.metrics.training_loss = -1e308; }, "diverged");
  ExpectRefused([](auto& header) { header.metrics.before->loss = 1e308; },
                "evaluation loss that is not finite, or none");
}

TEST(CheckHeaderTest, RefusesNegativeCounts) {
  ExpectRefused([](auto& header) { header.metrics.steps = -1; }, "count out of range");
  ExpectRefused([](auto& header) { header.metrics.token_count = INT64_MAX; }, "count out of range");
  ExpectRefused([](auto& header) { header.metrics.before->example_count = -1; },
                "count of records out of range");
}

TEST(CheckHeaderTest, RefusesImpossibleTimesAndAccuracies) {
  ExpectRefused([](auto& header) { header.metrics.training_seconds = -1; }, "training time");
  ExpectRefused([](auto& header) { header.metrics.training_seconds = kInfinity; }, "training time");
  ExpectRefused([](auto& header) { header.metrics.before->accuracy = 1.5; }, "accuracy");
  ExpectRefused([](auto& header) { header.metrics.after = {{.accuracy = std::nan("")}}; },
                "accuracy");
}

// Three experts in each of two layers, of which every token goes to two.
class CheckRoutingTest : public ::testing::Test {
 protected:
  CheckRoutingTest() {
    round_.routing = {.layers = 2, .experts = 3, .choices = 2, .most_tokens = 100};
    header_.metrics.token_count = 10;
    header_.metrics.routed_tokens = {10, 4, 6, 0, 1, 1};
  }
  void ExpectRefusedCounts(std::vector<int64_t> counts, std::string_view message) {
    header_.metrics.routed_tokens = std::move(counts);
    const absl::Status status = CheckHeader(header_, round_);
    EXPECT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(Message(status), HasSubstr(message));
  }

  ExpectedContribution round_ = Round();
  ContributionHeader header_ = Good();
};

TEST_F(CheckRoutingTest, TakesWhatCanBe) {
  EXPECT_THAT(CheckHeader(header_, round_), IsOk());
  // The last layer may have seen none.
  header_.metrics.routed_tokens = {10, 10, 0, 0, 0, 0};
  EXPECT_THAT(CheckHeader(header_, round_), IsOk());
}

TEST_F(CheckRoutingTest, RefusesCountsOfAnotherModel) {
  ExpectRefusedCounts({}, "counts the tokens of 0 routed experts, the run's base model has 6");
  ExpectRefusedCounts({1, 1, 1, 1, 1, 1, 1}, "of 7 routed experts");
  round_.routing = {};
  ExpectRefusedCounts({1}, "the run's base model has 0");
}

TEST_F(CheckRoutingTest, RefusesMoreTokensThanThereWere) {
  ExpectRefusedCounts({11, 0, 0, 0, 0, 0}, "reports 11 tokens for a routed expert, at most 10");
  ExpectRefusedCounts({0, 0, 0, 0, 0, -1}, "reports -1 tokens");
  ExpectRefusedCounts({0, 0, 0, 10, 10, 1}, "more routed tokens in a layer than went through it");
}

TEST_F(CheckRoutingTest, RefusesMoreTokensThanThePlanHas) {
  header_.metrics.token_count = 1000;
  ExpectRefusedCounts({101, 0, 0, 0, 0, 0}, "at most 100 can be");
}

TEST_F(CheckRoutingTest, SumsThatDoNotFitIntoALayerDoNotOverflow) {
  header_.metrics.token_count = int64_t{1} << 53;
  round_.routing = {.layers = 1, .experts = 4, .choices = 1, .most_tokens = INT64_MAX};
  ExpectRefusedCounts(std::vector<int64_t>(4, int64_t{1} << 53), "more routed tokens in a layer");
}

TEST(CheckHeaderTest, WantsNoBytesWhenOnlyEvaluating) {
  ExpectedContribution evaluation = Round();
  evaluation.evaluate_only = true;
  ContributionHeader header = Good();
  EXPECT_THAT(CheckHeader(header, evaluation), HasCode(absl::StatusCode::kInvalidArgument));
  header.size_bytes = 0;
  header.factors = 0;
  EXPECT_THAT(CheckHeader(header, evaluation), IsOk());
}

}  // namespace
}  // namespace fedtune
