// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/staged_folder.h"

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

class StagedFolderTest : public ::testing::Test {
 protected:
  // All that there is beside each other.
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

  const testing::TemporaryDirectory folder_;
  const std::filesystem::path target_ = folder_.path() / "out";
};

TEST_F(StagedFolderTest, KeepsAnotherOutUntilItIsComplete) {
  std::optional<absl::StatusOr<StagedFolder>> ada = StagedFolder::Create(target_);
  ASSERT_THAT(*ada, IsOk());
  ASSERT_THAT(WriteFileAtomically((*ada)->path() / "weights", "ada's"), IsOk());
  for (const absl::Status& ben :
       {StagedFolder::Create(target_).status(), StagedFolder::Resume(target_, "mark").status(),
        StagedFolder::Create(target_ / "").status()}) {
    EXPECT_THAT(ben, HasCode(absl::StatusCode::kFailedPrecondition));
    EXPECT_THAT(Message(ben), HasSubstr("out is being written by another process"));
  }
  ASSERT_THAT((**std::move(ada)).Commit(), IsOk());
  ada.reset();
  EXPECT_EQ(*ReadFile(target_ / "weights"), "ada's");
  EXPECT_THAT(Names(), ::testing::ElementsAre("out"));
  EXPECT_THAT(StagedFolder::Create(target_), HasCode(absl::StatusCode::kAlreadyExists));
}

TEST_F(StagedFolderTest, WhatIsGivenUpOrLeftKeepsNobodyOut) {
  EXPECT_THAT(StagedFolder::Create(target_), IsOk());
  EXPECT_THAT(Names(), ::testing::IsEmpty());
  {
    auto ada = StagedFolder::Resume(target_, "mark");
    ASSERT_THAT(ada, IsOk());
    ASSERT_THAT(WriteFileAtomically(ada->path() / "weights", "ada's"), IsOk());
    std::move(*ada).Leave();
  }
  EXPECT_THAT(Names(), ::testing::ElementsAre("out.partial"));
  auto ben = StagedFolder::Resume(target_, "mark");
  ASSERT_THAT(ben, IsOk());
  EXPECT_EQ(*ReadFile(ben->path() / "weights"), "ada's");
}

TEST_F(StagedFolderTest, TheLockOfAKilledOneKeepsNobodyOut) {
  ASSERT_THAT(WriteFileAtomically(folder_.path() / "out.partial.lock", ""), IsOk());
  EXPECT_THAT(StagedFolder::Create(target_), IsOk());
  EXPECT_THAT(Names(), ::testing::IsEmpty());
}

}  // namespace
}  // namespace fedtune
