// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/spool.h"

#include <fstream>
#include <optional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;
using testing::TemporaryDirectory;

std::span<const std::byte> AsBytes(std::string_view text) { return std::as_bytes(std::span(text)); }

class SpoolTest : public ::testing::Test {
 protected:
  std::string Kept(std::string_view run, std::string_view text) {
    auto file = spool_.Create(run, text.size());
    EXPECT_THAT(file, IsOk());
    EXPECT_THAT(file->Write(0, AsBytes(text)), IsOk());
    EXPECT_THAT(file->Keep(), IsOk());
    return file->name();
  }
  std::string Found(const std::string& name, size_t size) {
    const auto file = spool_.Find(name, size);
    EXPECT_THAT(file, IsOk());
    std::string bytes(size, ' ');
    EXPECT_THAT(file->Read(0, std::as_writable_bytes(std::span(bytes))), IsOk());
    return bytes;
  }
  bool Has(const std::string& name) const {
    return std::filesystem::exists(directory_.path() / "spool" / name);
  }

  TemporaryDirectory directory_;
  const Spool spool_ = *Spool::Open(directory_.path() / "spool");
};

TEST_F(SpoolTest, GivesBackWhatWasWritten) {
  auto file = spool_.Create("run-1", 8);
  ASSERT_THAT(file, IsOk());
  ASSERT_THAT(file->Write(4, AsBytes("half")), IsOk());
  EXPECT_EQ(*file->Size(), 8u);
  std::string back(4, ' ');
  ASSERT_THAT(file->Read(4, std::as_writable_bytes(std::span(back))), IsOk());
  EXPECT_EQ(back, "half");
}

TEST_F(SpoolTest, DoesNotReadBehindTheEnd) {
  auto file = spool_.Create("run-1", 8);
  std::vector<std::byte> bytes(8);
  ASSERT_THAT(file->Write(0, bytes), IsOk());
  EXPECT_THAT(file->Read(0, bytes), IsOk());
  EXPECT_THAT(file->Read(1, bytes), HasCode(absl::StatusCode::kInternal));
}

TEST_F(SpoolTest, AFileThatIsNotKeptGoesWithItsObject) {
  std::optional<SpoolFile> file = *spool_.Create("run-1", 8);
  const std::string name = file->name();
  EXPECT_TRUE(Has(name));
  file.reset();
  EXPECT_FALSE(Has(name));
}

TEST_F(SpoolTest, AFileThatIsRemovedCanBeReadByWhoeverHasItOpen) {
  const std::string name = Kept("run-1", "values");
  auto found = spool_.Find(name, 6);
  ASSERT_THAT(found, IsOk());
  found->Remove();
  EXPECT_FALSE(Has(name));
  std::string back(6, ' ');
  EXPECT_THAT(found->Read(0, std::as_writable_bytes(std::span(back))), IsOk());
  EXPECT_EQ(back, "values");
}

TEST_F(SpoolTest, AFileThatIsKeptIsFoundAgain) {
  const std::string name = Kept("run-1", "values");
  const auto found = spool_.Find(name, 6);
  ASSERT_THAT(found, IsOk());
  std::string back(6, ' ');
  ASSERT_THAT(found->Read(0, std::as_writable_bytes(std::span(back))), IsOk());
  EXPECT_EQ(back, "values");
}

TEST_F(SpoolTest, FindingAFileDoesNotRemoveIt) {
  const std::string name = Kept("run-1", "values");
  EXPECT_THAT(spool_.Find(name, 6), IsOk());
  EXPECT_TRUE(Has(name));
}

TEST_F(SpoolTest, WhatIsSetAsideIsNotFoundAndGoesLater) {
  const std::string name = Kept("run-1", "values");
  const std::string wanted = Kept("run-1", "wanted");
  const std::function<void()> free = spool_.SetAside("run-1", {wanted});
  EXPECT_THAT(spool_.Find(name, 6), HasCode(absl::StatusCode::kNotFound));
  EXPECT_TRUE(Has("." + name));
  free();
  EXPECT_FALSE(Has("." + name));
  EXPECT_TRUE(Has(wanted));
}

TEST_F(SpoolTest, WhatAProcessLeftAsideGoesWithTheNextOne) {
  const std::string name = Kept("run-1", "values");
  spool_.SetAside("run-1", {});
  ASSERT_THAT(spool_.RemoveAllBut({"run-1"}), IsOk());
  EXPECT_FALSE(Has("." + name));
}

TEST_F(SpoolTest, RefusesAFileThatWasCutOff) {
  const std::string name = Kept("run-1", "values");
  std::filesystem::resize_file(directory_.path() / "spool" / name, 5);
  EXPECT_THAT(spool_.Find(name, 6), HasCode(absl::StatusCode::kDataLoss));
}

TEST_F(SpoolTest, SaysWhenAFileIsGone) {
  EXPECT_THAT(spool_.Find("run-1.abcdef", 6), HasCode(absl::StatusCode::kNotFound));
}

TEST_F(SpoolTest, FindsNothingOutsideItsFolder) {
  std::ofstream(directory_.path() / "secret") << "secret";
  EXPECT_THAT(spool_.Find("../secret", 6), HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(spool_.Find((directory_.path() / "secret").string(), 6),
              HasCode(absl::StatusCode::kNotFound));
  for (const std::string_view name : {"", ".", ".."}) {
    EXPECT_THAT(spool_.Find(name, 6), HasCode(absl::StatusCode::kNotFound)) << name;
  }
}

TEST_F(SpoolTest, RemovesTheFilesOfOneRun) {
  const std::string one = Kept("run-1", "a");
  const std::string wanted = Kept("run-1", "b");
  const std::string other = Kept("run-11", "c");
  spool_.Remove("run-1", {wanted});
  EXPECT_FALSE(Has(one));
  EXPECT_TRUE(Has(wanted));
  EXPECT_TRUE(Has(other));
}

TEST_F(SpoolTest, RemovesWhatIsOfNoRunThatIsUnderWay) {
  const std::string wanted = Kept("run-1", "a");
  const std::string other = Kept("run-2", "b");
  ASSERT_THAT(spool_.RemoveAllBut({"run-1"}), IsOk());
  EXPECT_TRUE(Has(wanted));
  EXPECT_FALSE(Has(other));
}

TEST_F(SpoolTest, AnUploadGoesOnWithWhatAnEarlierCallLeft) {
  {
    auto file = spool_.CreateOrGoOn("run-1", "0-1-uke", "content", 8);
    ASSERT_THAT(file, IsOk());
    EXPECT_EQ(*file->Size(), 0u);
    ASSERT_THAT(file->Write(0, AsBytes("half")), IsOk());
  }
  const auto again = spool_.CreateOrGoOn("run-1", "0-1-uke", "content", 8);
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(*again->Size(), 4u);
}

TEST_F(SpoolTest, OtherContentBeginsAnewAndRemovesWhatWasLeft) {
  const std::string left = spool_.CreateOrGoOn("run-1", "0-1-uke", "content", 8)->name();
  const std::string other = spool_.CreateOrGoOn("run-1", "0-1-charite", "content", 8)->name();
  EXPECT_TRUE(Has(left));
  EXPECT_EQ(*spool_.CreateOrGoOn("run-1", "0-1-uke", "changed", 8)->Size(), 0u);
  EXPECT_FALSE(Has(left));
  EXPECT_TRUE(Has(other));
}

TEST_F(SpoolTest, TwoCallsNeverShareAFile) {
  const auto one = spool_.CreateOrGoOn("run-1", "0-1-uke", "content", 8);
  std::optional<SpoolFile> other = *spool_.CreateOrGoOn("run-1", "0-1-uke", "content", 8);
  const std::string name = other->name();
  EXPECT_NE(name, one->name());
  other.reset();
  EXPECT_FALSE(Has(name));
  EXPECT_TRUE(Has(one->name()));
}

// It may be acknowledged yet.
TEST_F(SpoolTest, ACallDoesNotRemoveWhatAnotherIsWriting) {
  std::optional<SpoolFile> writing = *spool_.CreateOrGoOn("run-1", "0-1-uke", "content", 8);
  const std::string name = writing->name();
  ASSERT_THAT(spool_.CreateOrGoOn("run-1", "0-1-uke", "changed", 8), IsOk());
  EXPECT_TRUE(Has(name));
  writing.reset();
  ASSERT_THAT(spool_.CreateOrGoOn("run-1", "0-1-uke", "changed", 8), IsOk());
  EXPECT_FALSE(Has(name));
}

TEST_F(SpoolTest, WhatIsDiscardedGoes) {
  std::optional<SpoolFile> file = *spool_.CreateOrGoOn("run-1", "0-1-uke", "content", 8);
  const std::string name = file->name();
  file->Discard();
  file.reset();
  EXPECT_FALSE(Has(name));
}

TEST_F(SpoolTest, WhatIsLeftOfTheOpenAttemptMayStay) {
  const std::string open = spool_.CreateOrGoOn("run-1", "0-2-uke", "content", 8)->name();
  const std::string closed = spool_.CreateOrGoOn("run-1", "0-1-uke", "content", 8)->name();
  spool_.Remove("run-1", {}, "0-2-");
  EXPECT_TRUE(Has(open));
  EXPECT_FALSE(Has(closed));
}

TEST_F(SpoolTest, IsForItsOwnerOnly) {
  const auto mode = std::filesystem::status(directory_.path() / "spool").permissions();
  EXPECT_EQ(mode, std::filesystem::perms::owner_all);
}

}  // namespace
}  // namespace fedtune
