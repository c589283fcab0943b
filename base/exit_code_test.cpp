// SPDX-License-Identifier: Apache-2.0

#include "base/exit_code.h"

#include "base/status.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

TEST(ExitCodeTest, FollowsTheKindOfError) {
  EXPECT_EQ(ExitCodeFor(absl::OkStatus()), 0);
  EXPECT_EQ(ExitCodeFor(absl::InternalError("")), 1);
  EXPECT_EQ(ExitCodeFor(absl::InvalidArgumentError("")), 2);
  EXPECT_EQ(ExitCodeFor(absl::PermissionDeniedError("")), 3);
  EXPECT_EQ(ExitCodeFor(absl::UnauthenticatedError("")), 3);
  EXPECT_EQ(ExitCodeFor(absl::UnavailableError("")), 4);
  EXPECT_EQ(ExitCodeFor(absl::DeadlineExceededError("")), 4);
}

TEST(ExitCodeTest, CanBeChosen) {
  EXPECT_EQ(
      ExitCodeFor(WithExitCode(absl::AbortedError("quorum lost"), ExitCode::kEndedWithoutItsGoal)),
      5);
}

TEST(ExitCodeTest, StaysWhenMoreIsSaidOfTheError) {
  const absl::Status chosen =
      WithExitCode(absl::PermissionDeniedError("key.pem: mode 0644"), ExitCode::kUsage);
  const absl::Status annotated = Annotate(chosen, "signing key");
  EXPECT_EQ(ExitCodeFor(annotated), 2);
  EXPECT_EQ(Message(annotated), "signing key: key.pem: mode 0644");
  EXPECT_TRUE(absl::IsPermissionDenied(annotated));
}

TEST(ExitCodeTest, ANamedFileThatIsNotThereIsWrongUsage) {
  EXPECT_EQ(ExitCodeFor(OfNamedFile(absl::NotFoundError("no such file"))), 2);
}

TEST(ExitCodeTest, ANamedFileThatMayNotBeReadIsWrongUsage) {
  EXPECT_EQ(ExitCodeFor(OfNamedFile(absl::PermissionDeniedError("mode 0644"))), 2);
}

TEST(ExitCodeTest, OtherFaultsOfANamedFileAreWhatTheyAre) {
  EXPECT_EQ(ExitCodeFor(OfNamedFile(absl::OkStatus())), 0);
  EXPECT_EQ(ExitCodeFor(OfNamedFile(absl::InternalError("I/O error"))), 1);
  EXPECT_EQ(ExitCodeFor(OfNamedFile(absl::UnauthenticatedError("expired"))), 3);
}

}  // namespace
}  // namespace fedtune
