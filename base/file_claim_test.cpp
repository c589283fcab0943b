// SPDX-License-Identifier: Apache-2.0

#include "base/file_claim.h"

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

TEST(FileClaimTest, KeepsOthersOutUntilItGoesWithItsFile) {
  const testing::TemporaryDirectory folder;
  std::optional<absl::StatusOr<FileClaim>> first =
      FileClaim::Take(folder.path() / "claim", "it is taken");
  ASSERT_THAT(*first, IsOk());
  const auto second = FileClaim::Take(folder.path() / "claim", "it is taken");
  EXPECT_EQ(second.status(), absl::FailedPreconditionError("it is taken"));
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "claim"));
  first.reset();
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "claim"));
  EXPECT_THAT(FileClaim::Take(folder.path() / "claim", ""), IsOk());
}

TEST(FileClaimTest, IsHeldByOneAtATimeHoweverOftenItsFileGoes) {
  const testing::TemporaryDirectory folder;
  std::atomic<int> inside = 0;
  std::atomic<bool> was_alone = true;
  const auto visit_often = [&] {
    for (int i = 0; i < 200; ++i) {
      const auto claim = FileClaim::Take(folder.path() / "claim", "");
      if (!claim.ok()) continue;
      if (++inside != 1) was_alone = false;
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

TEST(FileClaimTest, SaysThatItsFolderIsMissing) {
  const testing::TemporaryDirectory folder;
  EXPECT_THAT(FileClaim::Take(folder.path() / "gone" / "claim", ""),
              HasCode(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace fedtune
