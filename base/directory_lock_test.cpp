// SPDX-License-Identifier: Apache-2.0

#include "base/directory_lock.h"

#include <unistd.h>

#include <stop_token>
#include <string>
#include <thread>

#include "base/status.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
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
  const absl::Status refused = DirectoryLock::Take(directory.path() / "state").status();
  EXPECT_THAT(refused, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(std::string(Message(refused)),
              ::testing::MatchesRegex(fmt::format(
                  ".*/state is in use by process {} on .+ since 2[0-9-]+T[0-9:]+Z; stop that one, "
                  "or choose another folder with --state-dir",
                  ::getpid())));
}

TEST(DirectoryLockTest, SaysWhetherAProcessHasIt) {
  const TemporaryDirectory directory;
  EXPECT_FALSE(DirectoryLock::IsTaken(directory.path()));
  {
    const auto lock = DirectoryLock::Take(directory.path());
    ASSERT_THAT(lock, IsOk());
    EXPECT_TRUE(DirectoryLock::IsTaken(directory.path()));
  }
  EXPECT_FALSE(DirectoryLock::IsTaken(directory.path()));
}

TEST(DirectoryLockTest, WhoeverLooksKeepsNobodyOut) {
  const TemporaryDirectory directory;
  ASSERT_THAT(DirectoryLock::Take(directory.path()), IsOk());
  const std::jthread looker([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) DirectoryLock::IsTaken(directory.path());
  });
  for (int i = 0; i < 2'000; ++i) {
    ASSERT_THAT(DirectoryLock::Take(directory.path()), IsOk()) << "start " << i;
  }
}

TEST(DirectoryLockTest, LetsTheNextOneInWhenItGoes) {
  const TemporaryDirectory directory;
  ASSERT_THAT(DirectoryLock::Take(directory.path()), IsOk());
  EXPECT_THAT(DirectoryLock::Take(directory.path()), IsOk());
}

}  // namespace
}  // namespace fedtune
