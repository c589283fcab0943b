// SPDX-License-Identifier: Apache-2.0

// A large contribution that the disk has lost between two processes: the next one finds
// that while it serves already.

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/full_store.h"
#include "tests/support/held_run.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::FullStore;
using testing::IsOk;

const Institution kAda{"ada"};
const Institution kBea{"bea"};

constexpr int64_t kInFeatures = int64_t{1} << 20;
constexpr int64_t kLargeValues = kInFeatures + 2;

std::string LargeModelJson() {
  BaseModelDescription model = *BaseModelDescriptionFromJson(testing::TinyModelJson());
  model.linear_layers.front().in_features = kInFeatures;
  return ToJson(model);
}

// A run of one round with two clients, one of whom has contributed what a file of its own
// keeps, when the coordinator is started again.
class LostContributionTest : public testing::HeldRunFixture {
 protected:
  LostContributionTest() {
    for (const Institution& client : {kAda, kBea}) Connect(client);
    NewHeldProcess(store_);
    absl::StatusOr<RunParts> parts =
        PartsOf({.rounds = "count = 1\nquorum = 1\ndeadline = \"10m\""}, LargeModelJson());
    run_ = *runs_->Start(*std::move(parts));
    for (const Institution& client : {kAda, kBea}) run_->Receive(client, RunAccepted{10});
    EXPECT_THAT(AdaContributes(), IsOk());
  }

  void DamageWhatAdaHandedInAndStartAgain() {
    NewHeldProcess(store_);
    for (const auto& file : std::filesystem::directory_iterator(directory_.path() / "spool")) {
      std::fstream(file.path()).seekp(4'000'003).put('\x7f');
    }
    ASSERT_THAT(runs_->ResumeAll(), IsOk());
    run_ = runs_->Find(kRun);
  }

  absl::Status AdaContributes() {
    return HandIn(*run_, Trained(kAda, 0, std::vector<float>(kLargeValues, 1)));
  }

  // All that is left to wait for: the round is complete.
  void BeaFails() {
    run_->Receive(kBea, ClientFailed{.round = 0, .attempt = view().attempt, .reason = "no GPU"});
  }

  FullStore store_{*stored_};
};

TEST_F(LostContributionTest, IsAskedForAgain) {
  DamageWhatAdaHandedInAndStartAgain();
  work_->DoAll();
  BeaFails();
  timers_->Pass(absl::Seconds(1));
  EXPECT_EQ(view().phase, RunPhase::kTraining);
  EXPECT_THAT(AdaContributes(), IsOk());
  timers_->Pass(absl::Seconds(1));
  EXPECT_EQ(view().rounds_done, 1);
}

TEST_F(LostContributionTest, IsAskedForAgainWhileTheReleaseWaitsForTheJournal) {
  DamageWhatAdaHandedInAndStartAgain();
  store_.is_full = true;
  BeaFails();
  work_->DoAll();
  store_.is_full = false;
  timers_->Pass(absl::Seconds(10));
  EXPECT_EQ(view().phase, RunPhase::kTraining);
  EXPECT_EQ(view().rounds_done, 0);
  EXPECT_THAT(AdaContributes(), IsOk());
  timers_->Pass(absl::Seconds(1));
  EXPECT_EQ(view().rounds_done, 1);
}

}  // namespace
}  // namespace fedtune
