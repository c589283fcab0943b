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
#include "tests/support/fake_clock.h"
#include "tests/support/fake_queues.h"
#include "tests/support/full_store.h"
#include "tests/support/status_matchers.h"
#include "tests/support/stored_run.h"

namespace fedtune {
namespace {

using testing::FakeTimers;
using testing::FullStore;
using testing::HeldWork;
using testing::IsOk;
using testing::SilentLine;

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
class LostContributionTest : public testing::StoredRunFixture {
 protected:
  LostContributionTest() {
    for (const Institution& client : {kAda, kBea}) {
      lines_.Connect(client, std::make_shared<SilentLine>());
    }
    StartProcess();
    absl::StatusOr<RunDriver::Parts> parts =
        PartsOf("count = 1\nquorum = 1\ndeadline = \"10m\"", LargeModelJson());
    run_ = *runs_->Start(*std::move(parts));
    for (const Institution& client : {kAda, kBea}) run_->Receive(client, RunAccepted{10});
    EXPECT_THAT(AdaContributes(), IsOk());
  }

  void StartProcess() {
    if (runs_ != nullptr) runs_->Shutdown();
    auto work = std::make_unique<HeldWork>();
    work_ = work.get();
    auto timers = std::make_unique<FakeTimers>(time_, *work);
    timers_ = timers.get();
    runs_ = std::make_unique<ActiveRuns>(
        ActiveRuns::Parts{
            .store = store_, .spool = spool_, .lines = lines_, .clock = time_, .log = log_},
        ActiveRuns::Queues{.work = std::move(work), .timers = std::move(timers)});
  }

  void DamageWhatAdaHandedInAndStartAgain() {
    StartProcess();
    for (const auto& file : std::filesystem::directory_iterator(directory_.path() / "spool")) {
      std::fstream(file.path()).seekp(4'000'003).put('\x7f');
    }
    ASSERT_THAT(runs_->ResumeAll(), IsOk());
    run_ = runs_->Find(kRun);
  }

  absl::Status AdaContributes() {
    const std::vector<float> values(kLargeValues, 1);
    HandedIn handed = Trained(kAda, 0, values);
    HandedIn* const one = &handed;
    run_->Take({&one, 1});
    return handed.outcome->status();
  }

  // All that is left to wait for: the round is complete.
  void BeaFails() {
    run_->Receive(kBea, ClientFailed{.round = 0, .attempt = view().attempt, .reason = "no GPU"});
  }

  RunView view() const { return run_->overview().view; }

  testing::FakeClock time_;
  HeldWork* work_ = nullptr;
  FakeTimers* timers_ = nullptr;
  FullStore store_{*stored_};
  std::shared_ptr<RunDriver> run_;
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
