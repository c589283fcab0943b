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
