// SPDX-License-Identifier: Apache-2.0

// What a process that begins between two rounds knows of the rounds before.

#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "coordinator/rounds/round_journal.h"
#include "coordinator/storage/forwarding_store.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_queues.h"
#include "tests/support/status_matchers.h"
#include "tests/support/stored_run.h"

namespace fedtune {
namespace {

using testing::FakeTimers;
using testing::HasCode;
using testing::HeldWork;
using testing::IsOk;
using testing::SilentLine;

const Institution kAda{"ada"};
const Institution kBea{"bea"};
const Institution kCoy{"coy"};

// Rounds close with two of three clients; the third works on.
class LateWorkTest : public testing::StoredRunFixture {
 protected:
  LateWorkTest() {
    for (const Institution& each : {kAda, kBea, kCoy}) {
      lines_.Connect(each, std::make_shared<SilentLine>());
    }
    NewProcess();
    run_ = Start("count = 9\nquorum = 2\nclose_at = 2\nstragglers = \"keep\"\nmax_staleness = 2");
    for (const Institution& each : lines_.Connected()) run_->Receive(each, RunAccepted{10});
    timers_->Pass(absl::Seconds(1));  // Their answers are stored.
    late_ = Trained(kCoy, 0, 8).header;
  }

  void NewProcess() {
    if (runs_ != nullptr) runs_->Shutdown();
    auto work = std::make_unique<HeldWork>();
    auto timers = std::make_unique<FakeTimers>(time_, *work);
    timers_ = timers.get();
    runs_ = std::make_unique<ActiveRuns>(
        ActiveRuns::Parts{
            .store = *stored_, .spool = spool_, .lines = lines_, .clock = time_, .log = log_},
        ActiveRuns::Queues{.work = std::move(work), .timers = std::move(timers)});
  }

  void Restart() {
    run_.reset();
    NewProcess();
    ASSERT_THAT(runs_->ResumeAll(), IsOk());
    run_ = runs_->Find(kRun);
    ASSERT_NE(run_, nullptr);
  }

  void HandIn(HandedIn handed) {
    HandedIn* const one = &handed;
    run_->Take({&one, 1});
    ASSERT_THAT(*handed.outcome, IsOk()) << handed.outcome->status();
    timers_->Pass(absl::ZeroDuration());
  }

  // Nothing is open then.
  void PausesAfterTheRound() {
    ASSERT_THAT(run_->Pause("the site moves"), IsOk());
    HandIn(Trained(kAda, 0, 1));
    HandIn(Trained(kBea, 0, 1));
    ASSERT_EQ(run_->overview().view.state, RunState::kPaused);
  }

  testing::FakeClock time_;
  FakeTimers* timers_ = nullptr;
  std::shared_ptr<RunDriver> run_;
  ContributionHeader late_;  // Of coy, who was asked in the first round.
};

TEST_F(LateWorkTest, CountsInTheNextRoundWhateverProcessesThereAreBetween) {
  PausesAfterTheRound();
  for (int restart = 0; restart < 2; ++restart) {
    Restart();
    EXPECT_THAT(run_->CheckContribution(kCoy, late_), HasCode(absl::StatusCode::kUnavailable))
        << "it is to come again when a round is open";
  }
  ASSERT_THAT(run_->Resume(), IsOk());
  const auto admission = run_->CheckContribution(kCoy, late_);
  ASSERT_THAT(admission, IsOk()) << admission.status();
  EXPECT_TRUE(admission->late);
  HandedIn late = Trained(kCoy, 0, 8);
  late.header = late_;
  HandIn(std::move(late));
  EXPECT_TRUE(run_->CheckContribution(kCoy, late_)->repeated);
  HandIn(Trained(kAda, 1, 1));
  EXPECT_EQ(stored_->Releases(kRun)->at(1).summary.contributions, 2);
}

TEST_F(LateWorkTest, IsWhatItsAdapterIsKeptFor) {
  PausesAfterTheRound();
  Restart();
  ASSERT_THAT(run_->Resume(), IsOk());
  HandIn(Trained(kAda, 1, 1));
  HandIn(Trained(kBea, 1, 1));
  Restart();
  EXPECT_THAT(run_->CheckContribution(kCoy, late_), IsOk()) << "it is two rounds late";
  EXPECT_THAT(stored_->GetBlob(late_.adapter), IsOk());
}

// Its first round has burnt, and a store may refuse to open the next one.
class BurntRowTest : public testing::StoredRunFixture {
 protected:
  class Store final : public ForwardingStore {
   public:
    using ForwardingStore::ForwardingStore;
    absl::Status OpenJournal(const RunId& id, int64_t attempt, std::string_view entry) override {
      if (refuses_rounds) return absl::ResourceExhaustedError("disk full");
      return ForwardingStore::OpenJournal(id, attempt, entry);
    }

    bool refuses_rounds = false;
  };

  BurntRowTest() {
    lines_.Connect(kAda, std::make_shared<SilentLine>());
    NewProcess(store_);
    const auto parts = PartsOf({.rounds = "count = 9\nquorum = 1"});
    EXPECT_THAT(parts, IsOk());
    EXPECT_THAT(stored_->Insert(parts->record, {AdaHasAccepted()}, parts->adapter->bytes()),
                IsOk());
    adapter_ = std::string(reinterpret_cast<const char*>(parts->adapter->bytes().data()),
                           parts->adapter->bytes().size());
  }

  static ClientView AdaHasAccepted() {
    ClientView ada;
    ada.institution = kAda;
    ada.accepted = true;
    return ada;
  }

  void RoundBurns(const BetweenRounds& between) {
    NewRelease release;
    release.record.summary = {.round = stored_->Get(kRun)->rounds_done, .burnt = "too few agreed"};
    release.record.adapter = stored_->Get(kRun)->adapter;
    release.adapter = std::as_bytes(std::span(adapter_));
    if (!between.empty()) release.journal = ToBytes({absl::ZeroDuration(), between});
    ASSERT_THAT(stored_->SaveRelease(kRun, release), IsOk());
  }

  ResumePoint NextProcess() const {
    const auto parts = PartsOfStoredRun(*stored_->Get(kRun), *stored_);
    EXPECT_THAT(parts, IsOk());
    EXPECT_TRUE(parts->journal.empty()) << "no attempt is open";
    return *parts->resume;
  }

  Store store_{*stored_};
  std::string adapter_;
};

TEST_F(BurntRowTest, IsCountedAsTheRunHasCountedIt) {
  RoundBurns({.burnt_in_a_row = 0});
  RoundBurns({.burnt_in_a_row = 1});
  EXPECT_EQ(NextProcess().burnt_in_a_row, 1);
  EXPECT_EQ(NextProcess().rounds_burnt, 2);
}

TEST_F(BurntRowTest, OfAnOlderProgramIsAsLongAsItsReleasesSay) {
  RoundBurns({});
  RoundBurns({.blamed = {{kAda, Blame{.times = 1}}}});
  EXPECT_EQ(NextProcess().burnt_in_a_row, 2);
}

TEST_F(BurntRowTest, BeginsAnewWithARetryThoughTheProcessEndsBeforeItsFirstRound) {
  RoundBurns({.burnt_in_a_row = 1});
  ASSERT_THAT(stored_->End(kRun, {.state = RunState::kFailed,
                                  .reason = "round 2 burnt, as the one before it",
                                  .ended_at = clock_.Now(),
                                  .clients = {},
                                  .last_evaluation = {},
                                  .traffic = {}}),
              IsOk());
  store_.refuses_rounds = true;
  ASSERT_THAT(runs_->Start(*PartsOfRetriedRun(*stored_->Get(kRun), *stored_)), IsOk());
  NewProcess(store_);
  EXPECT_EQ(NextProcess().burnt_in_a_row, 0);
}

}  // namespace
}  // namespace fedtune
