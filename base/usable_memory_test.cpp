// SPDX-License-Identifier: Apache-2.0

#include "base/usable_memory.h"

#include <string>

#include "base/files.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::IsOk;

class UsableMemoryTest : public ::testing::Test {
 protected:
  void Write(const std::string& file, const std::string& text) {
    const std::filesystem::path path = root_.path() / file;
    ASSERT_THAT(MakeDirectories(path.parent_path()), IsOk());
    ASSERT_THAT(WriteFileAtomically(path, text), IsOk());
  }

  std::optional<uint64_t> Limit() const { return ControlGroupLimit(root_.path()); }

  const testing::TemporaryDirectory root_;
};

TEST_F(UsableMemoryTest, TheNarrowestGroupOfVersion2Counts) {
  Write("proc/self/cgroup", "0::/user.slice/session.scope\n");
  Write("sys/fs/cgroup/user.slice/session.scope/memory.max", "max\n");
  EXPECT_EQ(Limit(), std::nullopt);
  Write("sys/fs/cgroup/user.slice/memory.max", "3000000\n");
  EXPECT_EQ(Limit(), 3'000'000);
  Write("sys/fs/cgroup/user.slice/session.scope/memory.max", "2000000\n");
  EXPECT_EQ(Limit(), 2'000'000);
}

TEST_F(UsableMemoryTest, TheGroupOfVersion1IsThatOfTheMemoryController) {
  Write("proc/self/cgroup", "5:devices:/box\n4:memory:/box\n0::/\n");
  Write("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "4096\n");
  Write("sys/fs/cgroup/devices/box/memory.limit_in_bytes", "1\n");
  EXPECT_EQ(Limit(), 4096);
}

TEST_F(UsableMemoryTest, AContainerSeesItsGroupWhereTheHierarchyIsMounted) {
  Write("proc/self/cgroup", "4:memory:/docker/0123\n");
  Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "8192\n");
  EXPECT_EQ(Limit(), 8192);
}

TEST_F(UsableMemoryTest, WithoutGroupsThereIsNone) {
  EXPECT_EQ(Limit(), std::nullopt);
  Write("proc/self/cgroup", "garbage\n0:/\n\n");
  EXPECT_EQ(Limit(), std::nullopt);
}

TEST_F(UsableMemoryTest, OfThisProcessIsSome) { EXPECT_GT(UsableMemory(), 100'000'000); }

}  // namespace
}  // namespace fedtune
