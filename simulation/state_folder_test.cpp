// SPDX-License-Identifier: Apache-2.0

#include "simulation/state_folder.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <string>

#include "absl/time/clock.h"
#include "base/files.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune::simulation {
namespace {

namespace fs = std::filesystem;
using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;
using ::fedtune::testing::TemporaryDirectory;

// In a process of its own: makes a folder with a file in it, says where, and waits.
[[noreturn]] void MakeOneAndWait(int say) {
  const auto folder = StateFolder::Make(std::nullopt);
  if (!folder.ok() || !WriteFileAtomically(folder->path() / "fedtune.sqlite", "x").ok()) ::_exit(1);
  const std::string path = folder->path().string();
  if (::write(say, path.data(), path.size()) < 0) ::_exit(1);
  ::close(say);
  while (true) ::pause();
}

bool IsGoneSoon(const fs::path& path) {
  const absl::Time end = absl::Now() + absl::Seconds(30);
  while (fs::exists(path) && absl::Now() < end) absl::SleepFor(absl::Milliseconds(5));
  return !fs::exists(path);
}

class EndedBySignal : public ::testing::TestWithParam<int> {};

TEST_P(EndedBySignal, LeavesNoTemporaryFolder) {
  std::array<int, 2> said{};
  ASSERT_EQ(::pipe2(said.data(), O_CLOEXEC), 0);
  const pid_t child = ::fork();
  if (child == 0) MakeOneAndWait(said[1]);
  ::close(said[1]);
  std::string path;
  for (char c = 0; ::read(said[0], &c, 1) == 1;) path += c;
  ::close(said[0]);
  ASSERT_TRUE(fs::exists(path)) << path;

  ASSERT_EQ(::kill(child, GetParam()), 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(IsGoneSoon(path)) << path;
}

INSTANTIATE_TEST_SUITE_P(Signals, EndedBySignal,
                         ::testing::Values(SIGINT, SIGTERM, SIGPIPE, SIGHUP, SIGKILL));

TEST(StateFolderTest, ATemporaryOneIsGoneWithItsScope) {
  fs::path path;
  {
    const auto folder = StateFolder::Make(std::nullopt);
    ASSERT_THAT(folder, IsOk());
    path = folder->path();
    ASSERT_THAT(WriteFileAtomically(path / "fedtune.sqlite", "x"), IsOk());
  }
  EXPECT_FALSE(fs::exists(path));
}

TEST(StateFolderTest, OneThatWasAskedForStays) {
  const TemporaryDirectory directory;
  { ASSERT_THAT(StateFolder::Make(directory.path()), IsOk()); }
  EXPECT_TRUE(fs::exists(directory.path()));
}

TEST(StateFolderTest, OneThatIsNotEmptyIsRefused) {
  const TemporaryDirectory directory;
  ASSERT_THAT(WriteFileAtomically(directory.path() / "a", "x"), IsOk());
  EXPECT_THAT(StateFolder::Make(directory.path()), HasCode(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace fedtune::simulation
