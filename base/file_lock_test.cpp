// SPDX-License-Identifier: Apache-2.0

#include "base/file_lock.h"

#include <atomic>
#include <optional>
#include <thread>

#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;

TEST(FileLockTest, IsHeldByOneAtATime) {
  const testing::TemporaryDirectory folder;
  std::atomic<int> inside = 0;
  std::atomic<bool> was_alone = true;
  const auto visit_often = [&] {
    for (int i = 0; i < 200; ++i) {
      const auto lock = FileLock::Wait(folder.path() / "lock");
      if (!lock.ok() || ++inside != 1) was_alone = false;
      std::this_thread::yield();
      --inside;
    }
  };
  std::thread one(visit_often);
  std::thread other(visit_often);
  one.join();
  other.join();
  EXPECT_TRUE(was_alone);
}

TEST(FileLockTest, LeavesTheFileForTheNextOne) {
  const testing::TemporaryDirectory folder;
  std::optional<absl::StatusOr<FileLock>> first = FileLock::Wait(folder.path() / "lock");
  ASSERT_THAT(*first, IsOk());
  first.reset();
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "lock"));
  EXPECT_THAT(FileLock::Wait(folder.path() / "lock"), IsOk());
}

TEST(FileLockTest, SaysThatItsFolderIsMissing) {
  const testing::TemporaryDirectory folder;
  EXPECT_THAT(FileLock::Wait(folder.path() / "gone" / "lock"),
              HasCode(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace fedtune
