// SPDX-License-Identifier: Apache-2.0

// A base model that somebody changes while runs go on.

#include <filesystem>
#include <optional>
#include <string>

#include "base/files.h"
#include "base/status.h"
#include "client/round/local_workshop.h"
#include "gmock/gmock.h"
#include "privacy/crypto/sha256.h"
#include "tests/support/local_workshop_fixture.h"
#include "tests/support/status_matchers.h"

namespace fedtune::testing {
namespace {

// A workshop whose base model is a copy that somebody may change.
class ChangedModelTest : public LocalWorkshopTest {
 protected:
  ChangedModelTest() {
    std::filesystem::copy(kModel, model_);
    std::filesystem::permissions(weights_, std::filesystem::perms::owner_write,
                                 std::filesystem::perm_options::add);
  }

  Site CopySite() {
    Site site = SiteOf();
    return {.institution = site.institution,
            .policy = {},
            .base_models = copies_,
            .load_records = site.load_records,
            .join_secure_run = {}};
  }
  absl::Status WorkHere(LocalWorkshop& workshop, int64_t round) {
    return workshop.Work(AssignmentOf(IdOf(round)), link_, control_, [](const WorkProgress&) {});
  }

  // Another model of the same shape.
  void ReplaceWeights() {
    std::string weights = *ReadFile(weights_);
    weights.back() = static_cast<char>(weights.back() ^ 1);
    EXPECT_THAT(WriteFileAtomically(weights_, weights), IsOk());
  }
  void PutBackTheWeights() {
    EXPECT_THAT(WriteFileAtomically(weights_,
                                    *ReadFile(std::filesystem::path(kModel) / "model.safetensors")),
                IsOk());
  }

  const std::filesystem::path model_ = folder_.path() / "icd-moe";
  const std::filesystem::path weights_ = model_ / "model.safetensors";
  BaseModelShelf copies_{{model_}};
  LocalWorkshop workshop_{CopySite(), OpenerOf()};
};

TEST_F(ChangedModelTest, TrainsWithNoOtherModelThanTheRunsUntilThatIsBack) {
  ASSERT_TRUE(Study(workshop_).accepted);
  ASSERT_THAT(WorkHere(workshop_, 0), IsOk());
  ReplaceWeights();
  const absl::Status refused = WorkHere(workshop_, 1);
  EXPECT_EQ(Message(refused), "its base model was changed during the run: base model " +
                                  invitation_.base_digest + " is not on its machine");
  EXPECT_EQ(trainings_, 1);
  PutBackTheWeights();
  EXPECT_THAT(WorkHere(workshop_, 1), IsOk());
  EXPECT_EQ(loads_, 2) << "the files may lie elsewhere on the disk";
}

TEST_F(ChangedModelTest, KnowsAModelThatWasPutInTheOldOnesPlaceByItsOwnDigest) {
  ASSERT_TRUE(Study(workshop_).accepted);
  ReplaceWeights();
  EXPECT_FALSE(Study(workshop_).accepted);
  invitation_.base_digest = ReadBaseModel(model_)->description.digest;
  EXPECT_TRUE(Study(workshop_).accepted);
}

TEST_F(ChangedModelTest, HandsInNothingOfARoundInWhichTheModelWasChanged) {
  LocalWorkshop process(CopySite(), OpenerOf(), std::nullopt, Keeper());
  ASSERT_TRUE(Study(process).accepted);
  meanwhile_ = [this] { ReplaceWeights(); };
  const absl::Status failed = WorkHere(process, 0);
  EXPECT_EQ(Message(failed),
            "the base model in " + model_.string() + " was changed while this round used it");
  EXPECT_EQ(process.Kept(IdOf(0)), nullptr);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path() / "rounds"));
}

TEST_F(ChangedModelTest, TakesARoundInWhichOnlyTheFilesRightsWereChanged) {
  ASSERT_TRUE(Study(workshop_).accepted);
  meanwhile_ = [this] {
    std::filesystem::permissions(weights_, std::filesystem::perms::group_write,
                                 std::filesystem::perm_options::add);
  };
  EXPECT_THAT(WorkHere(workshop_, 0), IsOk());
  EXPECT_NE(workshop_.Kept(IdOf(0)), nullptr);
}

TEST_F(ChangedModelTest, KeepsNothingOfAStoppedRoundInWhichTheModelWasChanged) {
  LocalWorkshop process(CopySite(), OpenerOf(), std::nullopt, Keeper());
  ASSERT_TRUE(Study(process).accepted);
  meanwhile_ = [this] {
    const std::string checkpoint = Sha256Of(IdOf(0).run).ToHex() + ".checkpoint";
    EXPECT_THAT(WriteFileAtomically(folder_.path() / "rounds" / checkpoint, "of its steps"),
                IsOk());
    ReplaceWeights();
  };
  failure_ = absl::CancelledError("the training was cancelled");
  EXPECT_THAT(WorkHere(process, 0), HasCode(absl::StatusCode::kCancelled));
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path() / "rounds"));
}

TEST_F(ChangedModelTest, AStopIsNoFaultOfTheModels) {
  ASSERT_TRUE(Study(workshop_).accepted);
  meanwhile_ = [this] { ReplaceWeights(); };
  failure_ = absl::CancelledError("the training was cancelled");
  EXPECT_THAT(WorkHere(workshop_, 0), HasCode(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace fedtune::testing
