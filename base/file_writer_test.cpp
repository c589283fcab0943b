// SPDX-License-Identifier: Apache-2.0

#include "base/file_writer.h"

#include <fstream>
#include <utility>
#include <vector>

#include "base/files.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

namespace fs = std::filesystem;
using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;

class FileWriterTest : public ::testing::Test {
 protected:
  static size_t CountFiles(const fs::path& folder) {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder), {}));
  }

  const testing::TemporaryDirectory folder_;
  const fs::path path_ = folder_.path() / "state";
  const std::vector<uint8_t> one_ = {'o', 'n', 'e'};
  const std::vector<uint8_t> two_ = {'t', 'w', 'o'};
};

TEST_F(FileWriterTest, GivesTheWholeFileItsNameAtTheEnd) {
  ASSERT_THAT(WriteFileAtomically(path_, "old"), IsOk());
  auto writer = FileWriter::Create(path_, 6);
  ASSERT_THAT(writer, IsOk());
  ASSERT_THAT(writer->Write(one_), IsOk());
  EXPECT_EQ(*ReadFile(path_), "old");
  ASSERT_THAT(writer->Write(two_), IsOk());
  ASSERT_THAT(std::move(*writer).Commit(), IsOk());
  EXPECT_EQ(*ReadFile(path_), "onetwo");
  EXPECT_EQ(CountFiles(folder_.path()), 1);
}

TEST_F(FileWriterTest, IsForItsOwnerAlone) {
  auto writer = FileWriter::Create(path_, 0);
  ASSERT_THAT(writer, IsOk());
  ASSERT_THAT(std::move(*writer).Commit(), IsOk());
  EXPECT_EQ(fs::status(path_).permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(FileWriterTest, LeavesNothingWhenItIsGivenUp) {
  {
    auto writer = FileWriter::Create(path_, 3);
    ASSERT_THAT(writer, IsOk());
    ASSERT_THAT(writer->Write(one_), IsOk());
    EXPECT_EQ(CountFiles(folder_.path()), 1);
  }
  EXPECT_EQ(CountFiles(folder_.path()), 0);
}

TEST_F(FileWriterTest, SaysAtTheBeginningThatTheDiskIsFull) {
  const auto writer = FileWriter::Create(path_, uint64_t{1} << 50);
  EXPECT_FALSE(writer.ok());
  EXPECT_EQ(CountFiles(folder_.path()), 0);
}

TEST_F(FileWriterTest, RefusesAFolderThatIsNotThere) {
  EXPECT_THAT(FileWriter::Create(folder_.path() / "no" / "state", 1),
              HasCode(absl::StatusCode::kNotFound));
}

TEST_F(FileWriterTest, WhatAKilledWriterLeavesIsFoundByItsName) {
  const auto writer = FileWriter::Create(path_, 4);
  ASSERT_THAT(writer, IsOk());
  ASSERT_EQ(CountFiles(folder_.path()), 1);
  ASSERT_THAT(RemovePartialFiles(folder_.path()), IsOk());
  EXPECT_EQ(CountFiles(folder_.path()), 0);
}

}  // namespace
}  // namespace fedtune
