// SPDX-License-Identifier: Apache-2.0

#include "base/files.h"

#include <sys/stat.h>

#include <cerrno>
#include <string>
#include <vector>

#include "base/exit_code.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;
using testing::TemporaryDirectory;

TEST(FilesTest, ReadsBackWhatWasWritten) {
  const TemporaryDirectory directory;
  ASSERT_THAT(WriteFileAtomically(directory.path() / "a", "text"), IsOk());
  EXPECT_EQ(*ReadFile(directory.path() / "a"), "text");
}

TEST(FilesTest, ReplacesAFileAndLeavesNothingElse) {
  const TemporaryDirectory directory;
  ASSERT_THAT(WriteFileAtomically(directory.path() / "a", "old"), IsOk());
  ASSERT_THAT(WriteFileAtomically(directory.path() / "a", "new"), IsOk());
  EXPECT_EQ(*ReadFile(directory.path() / "a"), "new");
  int files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory.path())) {
    ++files;
  }
  EXPECT_EQ(files, 1);
}

TEST(FilesTest, SaysThatAFileIsMissing) {
  EXPECT_THAT(ReadFile("/nowhere/at/all"), HasCode(absl::StatusCode::kNotFound));
}

TEST(MappedFileTest, MapsAnEmptyFile) {
  const TemporaryDirectory directory;
  ASSERT_THAT(WriteFileAtomically(directory.path() / "a", ""), IsOk());
  EXPECT_TRUE(MappedFile::Open(directory.path() / "a")->bytes().empty());
}

TEST(MappedFileTest, RefusesADirectory) {
  EXPECT_THAT(MappedFile::Open("/tmp"), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(MappedFileTest, RefusesADevice) {
  const absl::Status status = MappedFile::Open("/dev/null").status();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(Message(status), "cannot read /dev/null: it is a pipe or a device; a file is needed");
}

TEST(MappedFileTest, RefusesAPipeWithoutWaitingForItsOtherEnd) {
  const testing::TemporaryDirectory directory;
  const std::filesystem::path pipe = directory.path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(MappedFile::Open(pipe), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(ReadNamedFileTest, CallsAMissingFileWrongUsage) {
  const auto text = ReadNamedFile("/nowhere/plan.toml");
  EXPECT_THAT(text, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Message(text.status()), ::testing::HasSubstr("/nowhere/plan.toml"));
}

// As of a folder on a file system that is read-only.
TEST(ErrnoToStatusTest, WhatTheSystemForbidsIsNoRefusalOfAPolicy) {
  for (const int error : {EACCES, EPERM, EROFS}) {
    const absl::Status status = ErrnoToStatus(error, "open", "/srv/lock");
    EXPECT_THAT(status, HasCode(absl::StatusCode::kPermissionDenied));
    EXPECT_EQ(ExitCodeFor(status), 1);
    EXPECT_EQ(ExitCodeFor(OfNamedFile(status)), 2);
  }
}

}  // namespace
}  // namespace fedtune
