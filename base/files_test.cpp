// SPDX-License-Identifier: Apache-2.0

#include "base/files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/descriptor.h"
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

TEST(FilesTest, RemovesWhatIsHalfWritten) {
  const TemporaryDirectory directory;
  ASSERT_THAT(WriteFileAtomically(directory.path() / "state", "kept"), IsOk());
  ASSERT_THAT(WriteFileAtomically(directory.path() / "state.4711.partial", "half"), IsOk());
  ASSERT_THAT(RemovePartialFiles(directory.path()), IsOk());
  EXPECT_EQ(*ReadFile(directory.path() / "state"), "kept");
  EXPECT_FALSE(std::filesystem::exists(directory.path() / "state.4711.partial"));
  EXPECT_THAT(RemovePartialFiles(directory.path() / "no"), HasCode(absl::StatusCode::kNotFound));
}

class OpenFileTest : public ::testing::Test {
 protected:
  static std::span<const std::byte> BytesOf(std::string_view text) {
    return std::as_bytes(std::span(text));
  }

  const TemporaryDirectory directory_;
  const std::filesystem::path path_ = directory_.path() / "a";
  const Descriptor file_{::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
};

TEST_F(OpenFileTest, WritesBehindWhatWasWrittenLast) {
  ASSERT_THAT(WriteAll(file_.get(), BytesOf("to be "), path_), IsOk());
  ASSERT_THAT(WriteAll(file_.get(), BytesOf("continued"), path_), IsOk());
  EXPECT_EQ(*ReadFile(path_), "to be continued");
}

TEST_F(OpenFileTest, WritesFromAPlaceOn) {
  ASSERT_THAT(WriteAt(file_.get(), 3, BytesOf("be"), path_), IsOk());
  ASSERT_THAT(WriteAt(file_.get(), 0, BytesOf("to "), path_), IsOk());
  EXPECT_EQ(*ReadFile(path_), "to be");
}

TEST_F(OpenFileTest, SaysHowMuchAFullDiskShouldHaveTaken) {
  const Descriptor full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  const absl::Status status = WriteAll(full.get(), BytesOf("text"), path_);
  EXPECT_THAT(status, HasCode(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(std::string(Message(status)), ::testing::HasSubstr("cannot write 4 bytes to "));
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
