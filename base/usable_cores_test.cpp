// SPDX-License-Identifier: Apache-2.0

#include "base/usable_cores.h"

#include <sched.h>

#include <string>
#include <thread>

#include "base/files.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::IsOk;

class UsableCoresTest : public ::testing::Test {
 protected:
  void Write(const std::string& file, const std::string& text) {
    const std::filesystem::path path = root_.path() / file;
    ASSERT_THAT(MakeDirectories(path.parent_path()), IsOk());
    ASSERT_THAT(WriteFileAtomically(path, text), IsOk());
  }

  std::optional<int> Cores() const { return ControlGroupCores(root_.path()); }

  const testing::TemporaryDirectory root_;
};

TEST_F(UsableCoresTest, TheNarrowestGroupOfVersion2CountsAndAPartOfACoreIsOne) {
  Write("proc/self/cgroup", "0::/pods/pod-7\n");
  Write("sys/fs/cgroup/pods/pod-7/cpu.max", "max 100000\n");
  EXPECT_EQ(Cores(), std::nullopt);
  Write("sys/fs/cgroup/pods/cpu.max", "400000 100000\n");
  EXPECT_EQ(Cores(), 4);
  Write("sys/fs/cgroup/pods/pod-7/cpu.max", "150000 100000\n");
  EXPECT_EQ(Cores(), 2);
  Write("sys/fs/cgroup/pods/pod-7/cpu.max", "5000 100000\n");
  EXPECT_EQ(Cores(), 1);
}

TEST_F(UsableCoresTest, TheGroupOfVersion1IsThatOfTheProcessorsTime) {
  Write("proc/self/cgroup", "5:devices:/box\n4:cpuacct,cpu:/box\n3:cpuset:/box\n0::/\n");
  Write("sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "-1\n");
  Write("sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(Cores(), std::nullopt);
  Write("sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "300000\n");
  EXPECT_EQ(Cores(), 3);
}

TEST_F(UsableCoresTest, WithoutGroupsOrWithGarbageInThemThereIsNoLimit) {
  EXPECT_EQ(Cores(), std::nullopt);
  Write("proc/self/cgroup", "0::/\n");
  for (const char* text : {"", "0 100000", "100000", "7 0", "ten 100000", "-3 5"}) {
    Write("sys/fs/cgroup/cpu.max", text);
    EXPECT_EQ(Cores(), std::nullopt) << text;
  }
}

TEST_F(UsableCoresTest, AProcessThatMayRunOnOneCoreHasOne) {
  EXPECT_GE(UsableCores(), 1);
  int cores = 0;
  std::thread bound([&cores] {
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET(static_cast<size_t>(::sched_getcpu()), &here);
    cores = ::sched_setaffinity(0, sizeof(here), &here) == 0 ? UsableCores() : -1;
  });
  bound.join();
  EXPECT_EQ(cores, 1);
}

}  // namespace
}  // namespace fedtune
