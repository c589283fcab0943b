// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/directory_lock.h"

#include <optional>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;
using testing::TemporaryDirectory;

TEST(DirectoryLockTest, KeepsASecondOneOut) {
  const TemporaryDirectory directory;
  const auto lock = DirectoryLock::Take(directory.path() / "state");
  ASSERT_THAT(lock, IsOk());
  EXPECT_THAT(DirectoryLock::Take(directory.path() / "state"),
              HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST(DirectoryLockTest, LetsTheNextOneInWhenItGoes) {
  const TemporaryDirectory directory;
  ASSERT_THAT(DirectoryLock::Take(directory.path()), IsOk());
  EXPECT_THAT(DirectoryLock::Take(directory.path()), IsOk());
}

}  // namespace
}  // namespace fedtune
