// SPDX-License-Identifier: Apache-2.0

#include "cli/simulate_arguments.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;

bool Takes(const std::string& flags) {
  CLI::App command;
  SimulateArguments arguments;
  AddSimulateOptions(command, arguments);
  try {
    command.parse("plan.toml " + flags);
  } catch (const CLI::ParseError&) {
    return false;
  }
  return true;
}

absl::StatusOr<absl::Duration> TrainingTime(const std::string& text) {
  SimulateArguments arguments;
  arguments.training = text;
  return TrainingTimeOf(arguments, absl::Hours(1));
}

TEST(SimulateArgumentsTest, ALikelihoodIsANumberFrom0To1) {
  EXPECT_TRUE(Takes("--dropout 0.5"));
  EXPECT_TRUE(Takes("--dropout 1"));
  EXPECT_FALSE(Takes("--dropout nan"));
  EXPECT_FALSE(Takes("--dropout 1.5"));
  EXPECT_FALSE(Takes("--dropout 50%"));
}

TEST(SimulateArgumentsTest, ATrainingEnds) {
  EXPECT_THAT(TrainingTime("90s"), IsOk());
  EXPECT_THAT(TrainingTime("inf"), HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(TrainingTime("0"), HasCode(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace fedtune
