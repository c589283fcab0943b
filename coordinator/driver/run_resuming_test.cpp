// SPDX-License-Identifier: Apache-2.0

// Which runs a new process goes on with.

#include "base/exit_code.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/stored_run.h"

namespace fedtune {
namespace {

using ::testing::AllOf;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

class RunResumingTest : public testing::StoredRunFixture {
 protected:
  void StoreSecureRun() {
    const auto parts = PartsOf({.rounds = "count = 2", .mode = "secure"});
    ASSERT_THAT(parts, IsOk()) << Message(parts.status());
    ASSERT_THAT(stored_->Insert(parts->record, {}, parts->adapter->bytes()), IsOk());
  }
};

TEST_F(RunResumingTest, WithoutASigningRosterNothingStartsWhileASecureRunIsUnderWay) {
  StoreSecureRun();
  NewProcess(*stored_);
  const absl::Status resumed = runs_->ResumeAll();
  EXPECT_THAT(resumed, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(ExitCodeFor(resumed), static_cast<int>(ExitCode::kUsage));
  EXPECT_THAT(Message(resumed), AllOf(HasSubstr("run-0001"), HasSubstr("signing_roster")));
  EXPECT_EQ(stored_->Get(kRun)->state, RunState::kInviting);
}

TEST_F(RunResumingTest, ASecureRunThatHasEndedNeedsNoSigningRoster) {
  StoreSecureRun();
  ASSERT_THAT(stored_->End(kRun, {.state = RunState::kFailed,
                                  .reason = "too few clients",
                                  .ended_at = clock_.Now(),
                                  .clients = {},
                                  .last_evaluation = {},
                                  .traffic = {}}),
              IsOk());
  NewProcess(*stored_);
  EXPECT_THAT(runs_->ResumeAll(), IsOk());
}

}  // namespace
}  // namespace fedtune
