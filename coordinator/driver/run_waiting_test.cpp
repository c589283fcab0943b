// SPDX-License-Identifier: Apache-2.0

// What a disk that takes nothing costs a run: time, and no round.

#include <memory>
#include <string>
#include <utility>

#include "coordinator/driver/client_gateway.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/full_store.h"
#include "tests/support/held_run.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::FullStore;
using testing::HasCode;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::kFull;
using ::testing::SizeIs;

const Institution kAda{"ada"};

// A run with one client, which has 10 minutes for each round.
class RunWaitingTest : public testing::HeldRunFixture {
 protected:
  RunWaitingTest() {
    Connect(kAda);
    NewHeldProcess(store_);
    run_ = Start("count = 1\nquorum = 1\ndeadline = \"10m\"");
    run_->Receive(kAda, RunAccepted{10});
  }

  absl::Status Contribute() {
    absl::Status outcome = HandIn(*run_, Trained(kAda, 0, 1));
    timers_->Pass(absl::ZeroDuration());
    return outcome;
  }

  // Its client offers what cannot be kept a few seconds after each upload.
  void OfferInVainFor(absl::Duration time, absl::Duration upload = absl::ZeroDuration()) {
    const HandedIn handed = Trained(kAda, 0, 1);
    const absl::Duration end = time_.Monotonic() + time;
    while (time_.Monotonic() < end) {
      timers_->Pass(upload);
      run_->CouldNotKeep(kAda, handed.header, upload, kFull);
      timers_->Pass(absl::Seconds(5));
    }
  }

  FullStore store_{*stored_};
};

TEST_F(RunWaitingTest, ARoundDoesNotEndWhileWhatIsHandedInCannotBeKept) {
  timers_->Pass(absl::Minutes(9));
  OfferInVainFor(absl::Hours(48));
  EXPECT_EQ(view().attempt, 1);
  EXPECT_EQ(view().phase, RunPhase::kTraining);
  EXPECT_THAT(Contribute(), IsOk());
  EXPECT_EQ(view().rounds_done, 1);
}

TEST_F(RunWaitingTest, NorWhereAnUploadTakesMinutes) {
  timers_->Pass(absl::Minutes(5));
  OfferInVainFor(absl::Hours(48), absl::Minutes(4));
  EXPECT_EQ(view().attempt, 1);
}

TEST_F(RunWaitingTest, TellsWatchersWhenItGoesOn) {
  class Watcher final : public RunWatcher {
   public:
    void RunChanged() override { ++changes; }
    int changes = 0;
  };
  const auto watcher = std::make_shared<Watcher>();
  run_->Watch(watcher);
  OfferInVainFor(absl::Seconds(10));
  const int before = watcher->changes;
  timers_->Pass(absl::Seconds(15));
  EXPECT_EQ(watcher->changes, before + 1);
}

TEST_F(RunWaitingTest, TheTimeThatWasLeftIsLeftWhenThereIsSpace) {
  timers_->Pass(absl::Minutes(9));
  OfferInVainFor(absl::Hours(1));
  timers_->Pass(absl::Minutes(1));
  EXPECT_EQ(view().attempt, 1);
  timers_->Pass(absl::Seconds(15));
  EXPECT_EQ(view().attempt, 2);
}

TEST_F(RunWaitingTest, ARoundDoesNotEndWhileItsJournalCannotBeStored) {
  timers_->Pass(absl::Minutes(9));
  store_.is_full = true;
  run_->ConnectionChanged(kAda);  // It is invited again.
  timers_->Pass(absl::Hours(48));
  EXPECT_EQ(view().attempt, 1);
  store_.is_full = false;
  timers_->Pass(absl::Seconds(30));
  EXPECT_EQ(view().attempt, 1);
  EXPECT_THAT(Contribute(), IsOk());
  EXPECT_EQ(view().rounds_done, 1);
}

TEST_F(RunWaitingTest, SaysWhyItWaits) {
  EXPECT_THAT(view().reason, IsEmpty());
  OfferInVainFor(absl::Seconds(10));
  EXPECT_THAT(view().reason, HasSubstr("disk full"));
  timers_->Pass(absl::Seconds(15));
  EXPECT_THAT(view().reason, IsEmpty());
}

TEST_F(RunWaitingTest, WaitsForNobodyWhoseContributionTheRoundDoesNotTake) {
  HandedIn handed = Trained(kAda, 0, 1);
  handed.header.attempt = 7;
  timers_->Pass(absl::Minutes(9));
  for (int i = 0; i < 30; ++i) {
    EXPECT_FALSE(run_->CouldNotKeep(kAda, handed.header, absl::ZeroDuration(), kFull));
    timers_->Pass(absl::Seconds(5));
  }
  EXPECT_EQ(view().attempt, 2);
}

// A small one is handed in whole before it turns out that there is no room for it.
TEST_F(RunWaitingTest, TheLogSaysOnceOfAnAttemptThatItsContributionCannotBeKept) {
  std::vector<std::string> logged;
  Log log([&logged](std::string_view line) { logged.emplace_back(line); });
  SqliteFederationStore federation(state_);
  ClientRecords records(federation, log_);
  ClientGateway gateway({.lines = lines_,
                         .runs = *runs_,
                         .run_store = store_,
                         .clients = records,
                         .clock = time_,
                         .log = log});
  store_.is_full = true;
  for (int i = 0; i < 3; ++i) {
    HandedIn handed = Trained(kAda, 0, 1);
    HandedIn* const one = &handed;
    gateway.Take(kRun, {&one, 1});
    ASSERT_THAT(handed.outcome->status(), HasCode(absl::StatusCode::kUnavailable));
    gateway.CouldNotKeep(kAda, kRun, handed.header, absl::ZeroDuration(), kFull);
  }
  EXPECT_THAT(logged, ElementsAre(HasSubstr("a contribution cannot be kept")));
  HandedIn late = Trained(kAda, 0, 1);
  late.header.attempt = 7;
  gateway.CouldNotKeep(kAda, kRun, late.header, absl::ZeroDuration(), kFull);
  EXPECT_THAT(logged, SizeIs(1));
}

}  // namespace
}  // namespace fedtune
