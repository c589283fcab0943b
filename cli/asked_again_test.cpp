// SPDX-License-Identifier: Apache-2.0

#include "cli/asked_again.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rpc/channel.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using ::testing::Not;

constexpr auto kDeadline = absl::StatusCode::kDeadlineExceeded;
constexpr auto kUnavailable = absl::StatusCode::kUnavailable;

// A coordinator that gives these answers, and the last one from then on.
class AskUntilAnsweredTest : public ::testing::Test {
 protected:
  static absl::Status Broken() {
    return ExplainFailure(absl::UnavailableError("Socket closed"), "hub:7443");
  }
  static absl::Status Late() { return absl::DeadlineExceededError("Deadline Exceeded"); }

  absl::StatusOr<v1::RunStatus> Ask(std::vector<absl::Status> answers) {
    asked_ = 0;
    return AskUntilAnswered(
        [&]() -> absl::StatusOr<v1::RunStatus> {
          const absl::Status& answer = answers[std::min(asked_++, answers.size() - 1)];
          if (absl::IsDeadlineExceeded(answer)) clock_.Advance(absl::Minutes(1));
          if (!answer.ok()) return answer;
          v1::RunStatus run;
          run.set_run_id("run-1");
          return run;
        },
        clock_, [this](absl::Duration time) { clock_.Advance(time); });
  }

  testing::FakeClock clock_;
  size_t asked_ = 0;
};

TEST_F(AskUntilAnsweredTest, TakesTheFirstAnswer) {
  EXPECT_THAT(Ask({absl::OkStatus()}), IsOk());
  EXPECT_EQ(asked_, 1u);
  EXPECT_THAT(Ask({absl::InvalidArgumentError("no plan")}),
              HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(asked_, 1u);
}

TEST_F(AskUntilAnsweredTest, AsksAgainWhereNoAnswerCameInTime) {
  EXPECT_EQ(Ask({Late(), absl::OkStatus()})->run_id(), "run-1");
  EXPECT_EQ(asked_, 2u);
}

TEST_F(AskUntilAnsweredTest, AsksAgainWhereTheConnectionBrokeOff) {
  EXPECT_EQ(Ask({Broken(), absl::UnavailableError("refused"), absl::OkStatus()})->run_id(),
            "run-1");
  EXPECT_EQ(asked_, 3u);
}

TEST_F(AskUntilAnsweredTest, DoesNotAskAgainWhomItCannotReach) {
  const auto run = Ask({absl::UnavailableError("refused")});
  EXPECT_THAT(run, HasCode(kUnavailable));
  EXPECT_THAT(std::string(Message(run.status())), Not(HasSubstr("may have begun")));
  EXPECT_EQ(asked_, 1u);
}

TEST_F(AskUntilAnsweredTest, GivesUpInTimeAndSaysThatTheRunMayHaveBegun) {
  const auto late = Ask({Late()});
  EXPECT_THAT(late, HasCode(kDeadline));
  EXPECT_THAT(std::string(Message(late.status())), HasSubstr("the run may have begun"));
  EXPECT_EQ(asked_, 2u);
  const auto broken = Ask({Broken()});
  EXPECT_THAT(broken, HasCode(kUnavailable));
  EXPECT_THAT(std::string(Message(broken.status())), HasSubstr("the run may have begun"));
  EXPECT_EQ(asked_, 21u);
}

}  // namespace
}  // namespace fedtune
