// SPDX-License-Identifier: Apache-2.0

// Which runs a client is told of when it connects: what it keeps of all others it
// throws away.

#include "coordinator/driver/active_runs.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "coordinator/storage/forwarding_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/stored_run.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::IsEmpty;
using testing::IsOk;
using ::testing::Optional;
using ::testing::StartsWith;

const Institution kAda{"ada"};
const Institution kBea{"bea"};

using Works = std::vector<std::function<void()>>;

// Does nothing until the test says so.
class HeldWork final : public WorkQueue {
 public:
  explicit HeldWork(Works& works) : works_(works) {}
  void Add(std::function<void()> work) override { works_.push_back(std::move(work)); }
  void Stop() override { works_.clear(); }

 private:
  Works& works_;
};

// Of deadlines none comes; whatever is to be tried again is held as well.
class HeldTimers final : public TimerQueue {
 public:
  explicit HeldTimers(Works& works) : works_(works) {}
  void At(absl::Duration, std::function<void()>) override {}
  void After(absl::Duration, std::function<void()> work) override {
    works_.push_back(std::move(work));
  }
  void Stop() override {}

 private:
  Works& works_;
};

class CountingLine final : public ClientLine {
 public:
  void Send(const ClientCommand&) override { ++heard; }
  void Close(absl::Status) override {}
  void Abandon(absl::Status) override {}

  int heard = 0;
};

// A store that does not do what its fields say.
class UnwillingStore final : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;

  absl::Status AppendToJournal(const RunId& id, const std::vector<std::string>& entries) override {
    if (refuses_journals) return absl::ResourceExhaustedError("disk full");
    return ForwardingStore::AppendToJournal(id, entries);
  }
  absl::Status End(const RunId& id, const RunEnding& ending) override {
    if (refuses_ends) return absl::ResourceExhaustedError("disk full");
    return ForwardingStore::End(id, ending);
  }

  absl::StatusOr<Blob> GetBlob(const Digest& digest) const override {
    if (!hides_files) return ForwardingStore::GetBlob(digest);
    return absl::PermissionDeniedError("cannot open blobs/6fdf: Permission denied");
  }

  bool refuses_journals = false;
  bool refuses_ends = false;
  bool hides_files = false;
};

class ActiveRunsTest : public testing::StoredRunFixture {
 protected:
  ActiveRunsTest() {
    Connect(kAda);
    NewProcess();
  }

  void NewProcess() {
    if (runs_ != nullptr) runs_->Shutdown();
    runs_ = std::make_unique<ActiveRuns>(
        ActiveRuns::Parts{.store = store_,
                          .spool = spool_,
                          .lines = lines_,
                          .clock = clock_,
                          .log = log_,
                          .store_again = absl::Milliseconds(1)},
        ActiveRuns::Queues{.work = std::make_unique<HeldWork>(works_),
                           .timers = std::make_unique<HeldTimers>(works_)});
  }

  void DoWhatWaits() {
    for (const std::function<void()>& work : std::exchange(works_, {})) work();
  }

  Works works_;
  UnwillingStore store_{*stored_};
};

TEST_F(ActiveRunsTest, NobodyKnowsWhichAreUnderWayBeforeTheStoredOnesAreResumed) {
  Start("count = 2\nquorum = 1");
  NewProcess();
  EXPECT_EQ(runs_->UnderWayFor(kAda), std::nullopt);
  ASSERT_THAT(runs_->ResumeAll(), IsOk());
  EXPECT_THAT(runs_->UnderWayFor(kAda), Optional(ElementsAre(kRun)));
}

TEST_F(ActiveRunsTest, NoRunIsGivenUpForFilesOfAnotherUser) {
  Start("count = 2\nquorum = 1");
  NewProcess();
  store_.hides_files = true;
  const absl::Status status = runs_->ResumeAll();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(std::string(Message(status)), StartsWith(kRun.value + " cannot go on"));
  NewProcess();
  store_.hides_files = false;
  ASSERT_THAT(runs_->ResumeAll(), IsOk());
  EXPECT_THAT(runs_->UnderWayFor(kAda), Optional(ElementsAre(kRun)));
}

TEST_F(ActiveRunsTest, ARunThatIsPausedIsUnderWay) {
  ASSERT_THAT(runs_->ResumeAll(), IsOk());
  ASSERT_THAT(Start("count = 2\nquorum = 1")->Pause("the site moves"), IsOk());
  EXPECT_THAT(runs_->UnderWayFor(kAda), Optional(ElementsAre(kRun)));
}

TEST_F(ActiveRunsTest, ARunIsUnderWayUntilItsEndIsStored) {
  ASSERT_THAT(runs_->ResumeAll(), IsOk());
  const auto run = Start("count = 2\nquorum = 1");
  store_.refuses_ends = true;
  ASSERT_THAT(run->Stop("wrong data"), IsOk());
  DoWhatWaits();
  EXPECT_THAT(runs_->UnderWayFor(kAda), Optional(ElementsAre(kRun)));

  store_.refuses_ends = false;
  while (!works_.empty()) DoWhatWaits();
  EXPECT_THAT(runs_->UnderWayFor(kAda), Optional(IsEmpty()));
}

TEST_F(ActiveRunsTest, ARunIsUnderWayWhileItsInvitationsHaveToWait) {
  ASSERT_THAT(runs_->ResumeAll(), IsOk());
  Start("count = 2\nquorum = 1")->Receive(kAda, RunAccepted{10});
  store_.refuses_journals = true;
  const auto line = std::make_shared<CountingLine>();
  lines_.Connect(kBea, line);
  runs_->ConnectionChanged(kBea);
  EXPECT_EQ(line->heard, 0);
  EXPECT_THAT(runs_->UnderWayFor(kBea), Optional(ElementsAre(kRun)));

  store_.refuses_journals = false;
  while (!works_.empty()) DoWhatWaits();
  EXPECT_EQ(line->heard, 1);
}

TEST_F(ActiveRunsTest, ARunIsUnderWayForWhomItsPlanAdmits) {
  ASSERT_THAT(runs_->ResumeAll(), IsOk());
  Start("count = 2\nquorum = 1\ninstitutions = [\"ada\"]");
  EXPECT_THAT(runs_->UnderWayFor(kAda), Optional(ElementsAre(kRun)));
  EXPECT_THAT(runs_->UnderWayFor(kBea), Optional(IsEmpty()));
}

TEST_F(ActiveRunsTest, ARunThatCouldNotBeginIsNotUnderWay) {
  ASSERT_THAT(runs_->ResumeAll(), IsOk());
  ASSERT_THAT(runs_->Start(*PartsOf({.rounds = "count = 2\nquorum = 2"})),
              HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(runs_->UnderWayFor(kAda), Optional(IsEmpty()));
}

}  // namespace
}  // namespace fedtune
