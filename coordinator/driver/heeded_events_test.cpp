// SPDX-License-Identifier: Apache-2.0

// Which of the things that clients say a run writes down.

#include "coordinator/storage/forwarding_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/stored_run.h"

namespace fedtune {
namespace {

using testing::IsOk;
using testing::SilentLine;
using ::testing::SizeIs;

class WatchedStore final : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;

  absl::Status AppendToJournal(const RunId& id, const std::vector<std::string>& entries) override {
    written.insert(written.end(), entries.begin(), entries.end());
    return ForwardingStore::AppendToJournal(id, entries);
  }

  std::vector<std::string> written;  // With the run's lock held.
};

class HeededEventsTest : public testing::StoredRunFixture {
 protected:
  void SetUp() override {
    NewProcess(store_);
    Connect(kAda);
    lines_.Connect(kBea, beas_line_);
    Start("count = 1\nquorum = 2");
    for (const Institution& client : {kAda, kBea}) run().Receive(client, RunAccepted{10});
    ASSERT_EQ(run().overview().view.phase, RunPhase::kTraining);
    store_.written.clear();
  }

  RunDriver& run() { return *runs_->Find(kRun); }

  // Everything that waits is written together with a contribution.
  std::vector<std::string> WrittenWithAContribution() {
    EXPECT_THAT(HandIn(run(), Trained(kAda, 0, 1)), IsOk());
    return store_.written;
  }

  const Institution kAda{"ada"};
  const Institution kBea{"bea"};
  const Institution kMallory{"mallory"};
  const std::shared_ptr<SilentLine> beas_line_ = std::make_shared<SilentLine>();
  WatchedStore store_{*stored_};
};

TEST_F(HeededEventsTest, NothingThatAStrangerSays) {
  for (int i = 0; i < 3; ++i) {
    run().Receive(kMallory, SecureMessageReceived{0, 1, std::vector<uint8_t>(1000)});
    run().Receive(kMallory, RunAccepted{10});
    run().Receive(kMallory, RunDeclined{"no"});
    run().Receive(kMallory, ClientFailed{0, 1, "no"});
  }
  EXPECT_THAT(WrittenWithAContribution(), SizeIs(1));
}

TEST_F(HeededEventsTest, NoSecureMessageInAPlainRun) {
  for (int i = 0; i < 3; ++i) {
    run().Receive(kBea, SecureMessageReceived{0, 1, std::vector<uint8_t>(1000)});
  }
  EXPECT_THAT(WrittenWithAContribution(), SizeIs(1));
}

TEST_F(HeededEventsTest, NoAnswerThatIsRepeated) {
  for (int i = 0; i < 3; ++i) run().Receive(kBea, RunAccepted{10});
  EXPECT_THAT(WrittenWithAContribution(), SizeIs(1));
}

TEST_F(HeededEventsTest, AnAnswerThatChanges) {
  run().Receive(kBea, RunAccepted{11});
  EXPECT_THAT(WrittenWithAContribution(), SizeIs(2));
}

TEST_F(HeededEventsTest, NotAllThatChangesAgainAndAgain) {
  for (int i = 0; i < 2'000; ++i) run().Receive(kBea, RunAccepted{11 + i % 2});
  EXPECT_THAT(WrittenWithAContribution(), SizeIs(::testing::Lt(20)));
}

TEST_F(HeededEventsTest, NoAnswerThatCannotBe) {
  run().Receive(kBea, RunAccepted{12});
  for (int i = 0; i < 3; ++i) run().Receive(kMallory, RunAccepted{0});
  EXPECT_THAT(WrittenWithAContribution(), SizeIs(2));
}

TEST_F(HeededEventsTest, NoFailureInAnotherRound) {
  run().Receive(kBea, ClientFailed{1, 1, "too early"});
  EXPECT_THAT(WrittenWithAContribution(), SizeIs(1));
}

TEST_F(HeededEventsTest, NotAllConnectionsOfOneThatComesAndGoes) {
  for (int i = 0; i < 1'000; ++i) {
    lines_.Disconnect(kBea, beas_line_.get());
    run().ConnectionChanged(kBea);
    lines_.Connect(kBea, beas_line_);
    run().ConnectionChanged(kBea);
  }
  EXPECT_THAT(WrittenWithAContribution(), SizeIs(::testing::Lt(100)));
}

TEST_F(HeededEventsTest, WhatNothingFollowsFromIsWrittenBeforeTooMuchWaits) {
  for (int client = 0; client < 100; ++client) {
    const Institution institution{fmt::format("client-{}", client)};
    lines_.Connect(institution, beas_line_);
    run().ConnectionChanged(institution);
  }
  store_.written.clear();
  for (int i = 0; i < 15; ++i) {
    for (int client = 0; client < 100; ++client) {
      run().Receive({fmt::format("client-{}", client)}, RunAccepted{1 + i});
    }
  }
  EXPECT_THAT(store_.written, SizeIs(::testing::Gt(1'000)));
}

}  // namespace
}  // namespace fedtune
