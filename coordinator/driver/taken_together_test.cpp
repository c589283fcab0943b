// SPDX-License-Identifier: Apache-2.0

// Contributions that come at the same time: stored together, and each for itself.

#include <atomic>
#include <filesystem>
#include <functional>
#include <future>
#include <latch>
#include <thread>

#include "coordinator/storage/forwarding_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/stored_run.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using ::testing::Field;
using testing::HasCode;
using testing::IsOk;
using ::testing::SizeIs;

// Counts what comes in one transaction, and refuses what it is told to.
class WatchedStore final : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;

  absl::Status AppendToJournal(const RunId& id, const std::vector<std::string>& entries) override {
    if (on_append != nullptr) std::exchange(on_append, nullptr)();
    if (refusals > 0 && refusals-- > 0) return absl::ResourceExhaustedError("disk full");
    transactions.push_back(entries.size());
    return ForwardingStore::AppendToJournal(id, entries);
  }
  absl::Status SaveRelease(const RunId& id, const NewRelease& release) override {
    if (holds_releases) return absl::UnavailableError("held");
    RETURN_IF_ERROR(ForwardingStore::SaveRelease(id, release));
    released.set_value(release.contributions);
    return absl::OkStatus();
  }

  std::vector<size_t> transactions;  // Written with the run's lock held, as refusals.
  int refusals = 0;
  std::function<void()> on_append;  // The next time.
  std::atomic<bool> holds_releases = false;
  std::promise<std::vector<ContributionRecord>> released;
};

class TakenTogetherTest : public testing::StoredRunFixture {
 protected:
  // A run of one round with so many clients, all of whom are asked. The plan may say
  // more of its rounds.
  void StartRun(int clients, std::string_view rounds = "") {
    NewProcess(store_);
    for (int i = 0; i < clients; ++i) {
      clients_.push_back({fmt::format("site-{}", i)});
      Connect(clients_.back());
    }
    Start(fmt::format("count = 1\nquorum = 2\n{}", rounds));
    for (const Institution& client : clients_) run().Receive(client, RunAccepted{10});
    ASSERT_EQ(run().overview().view.phase, RunPhase::kTraining);
    store_.transactions.clear();
  }

  RunDriver& run() { return *runs_->Find(kRun); }

  std::vector<absl::StatusCode> Take(std::vector<HandedIn> handed_in) {
    std::vector<HandedIn*> pointers;
    pointers.reserve(handed_in.size());
    for (HandedIn& handed : handed_in) pointers.push_back(&handed);
    run().Take(pointers);
    std::vector<absl::StatusCode> codes;
    codes.reserve(handed_in.size());
    for (const HandedIn& handed : handed_in) codes.push_back(handed.outcome->status().code());
    return codes;
  }

  std::vector<HandedIn> TrainedByAll() {
    std::vector<HandedIn> all;
    for (const Institution& client : clients_) all.push_back(Trained(client, 0, 1));
    return all;
  }

  uintmax_t SizeOfSpool() const {
    uintmax_t size = 0;
    for (const auto& file : std::filesystem::directory_iterator(directory_.path() / "spool")) {
      size += file.file_size();
    }
    return size;
  }

  static constexpr absl::StatusCode kOk = absl::StatusCode::kOk;
  static constexpr absl::StatusCode kUnavailable = absl::StatusCode::kUnavailable;

  WatchedStore store_{*stored_};
  std::vector<Institution> clients_;
};

TEST_F(TakenTogetherTest, AreStoredInOneTransaction) {
  StartRun(3);
  EXPECT_THAT(Take(TrainedByAll()), ElementsAre(kOk, kOk, kOk));
  EXPECT_THAT(store_.transactions, ElementsAre(3));
  EXPECT_THAT(store_.released.get_future().get(), SizeIs(3));
}

TEST_F(TakenTogetherTest, OneThatIsRefusedLeavesTheOthers) {
  StartRun(3);
  std::vector<HandedIn> all;
  all.push_back(Trained(clients_[0], 0, 1));
  all.push_back(Trained(clients_[1], 7, 1));
  all.push_back(Trained(clients_[2], 0, 1e9));
  EXPECT_THAT(Take(std::move(all)), ElementsAre(kOk, absl::StatusCode::kFailedPrecondition,
                                                absl::StatusCode::kOutOfRange));
  EXPECT_THAT(store_.transactions, ElementsAre(1));
}

TEST_F(TakenTogetherTest, OneClientCountsOnce) {
  StartRun(2);
  std::vector<HandedIn> all;
  all.push_back(Trained(clients_[0], 0, 1));
  all.push_back(Trained(clients_[0], 0, 2));
  all.push_back(Trained(clients_[0], 0, 1));
  EXPECT_THAT(Take(std::move(all)), ElementsAre(kOk, absl::StatusCode::kFailedPrecondition, kOk));
  EXPECT_THAT(store_.transactions, ElementsAre(1));
  EXPECT_THAT(Take(TrainedByAll()), ElementsAre(kOk, kOk));
  EXPECT_THAT(store_.released.get_future().get(), SizeIs(2));
}

TEST_F(TakenTogetherTest, WhatCannotBeStoredCountsForNobody) {
  StartRun(2);
  store_.refusals = 1;
  EXPECT_THAT(Take(TrainedByAll()), ElementsAre(kUnavailable, kUnavailable));
  for (const ClientView& client : run().overview().view.clients) {
    EXPECT_NE(client.state, ClientStanding::kDone);
  }
  EXPECT_THAT(Take(TrainedByAll()), ElementsAre(kOk, kOk));
  EXPECT_THAT(store_.released.get_future().get(), SizeIs(2));
}

TEST_F(TakenTogetherTest, WhatCannotBeStoredTakesNoMoreOfTheDiskEachTimeItComes) {
  StartRun(2);
  store_.refusals = 1;
  EXPECT_THAT(Take(TrainedByAll()), ElementsAre(kUnavailable, kUnavailable));
  const uintmax_t size = SizeOfSpool();
  EXPECT_GT(size, 0);
  store_.refusals = 20;
  while (store_.refusals > 0) {
    EXPECT_THAT(Take(TrainedByAll()), ElementsAre(kUnavailable, kUnavailable));
  }
  EXPECT_EQ(SizeOfSpool(), size);
  EXPECT_THAT(Take(TrainedByAll()), ElementsAre(kOk, kOk));
  EXPECT_THAT(store_.released.get_future().get(), SizeIs(2));
}

// As if a sync had failed meanwhile.
TEST_F(TakenTogetherTest, OneThatTheDiskMayHaveLostLeavesTheOthers) {
  StartRun(2);
  std::vector<HandedIn> all;
  all.push_back(Trained(clients_[0], 0, 1));
  run().pack().GiveUpFile();
  all.push_back(Trained(clients_[1], 0, 1));
  EXPECT_THAT(Take(std::move(all)), ElementsAre(kUnavailable, kOk));
  EXPECT_THAT(store_.transactions, ElementsAre(1));
  EXPECT_THAT(Take(TrainedByAll()), ElementsAre(kOk, kOk));
  EXPECT_THAT(store_.released.get_future().get(), SizeIs(2));
}

TEST_F(TakenTogetherTest, OneBehindTheLastThatCountsDoesNotCountAfterARestartEither) {
  StartRun(3, "close_at = 2");
  store_.holds_releases = true;
  EXPECT_THAT(Take(TrainedByAll()), ElementsAre(kOk, kOk, absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(store_.transactions, ElementsAre(3));
  runs_->Shutdown();
  store_.holds_releases = false;
  NewProcess(store_);
  ASSERT_THAT(runs_->ResumeAll(), IsOk());
  EXPECT_THAT(store_.released.get_future().get(),
              ElementsAre(Field(&ContributionRecord::institution, clients_[0]),
                          Field(&ContributionRecord::institution, clients_[1])));
}

TEST_F(TakenTogetherTest, WhatComesWhileAnotherIsStoredIsStoredTogether) {
  constexpr int kClients = 5;
  StartRun(kClients);
  std::vector<HandedIn> all = TrainedByAll();
  std::latch decided(kClients);
  for (HandedIn& handed : all) handed.decided = [&decided] { decided.count_down(); };
  std::latch is_stored(1);
  std::latch others_came(1);
  store_.on_append = [&] {
    is_stored.count_down();
    others_came.wait();
  };
  run().TakeLater(all[0]);
  is_stored.wait();
  for (int i = 1; i < kClients; ++i) run().TakeLater(all[i]);
  others_came.count_down();
  decided.wait();
  for (const HandedIn& handed : all) EXPECT_THAT(*handed.outcome, IsOk());
  EXPECT_THAT(store_.transactions, ElementsAre(1, kClients - 1));
}

TEST_F(TakenTogetherTest, CallsOfManyThreadsAllCount) {
  constexpr int kClients = 40;
  StartRun(kClients);
  std::vector<HandedIn> all = TrainedByAll();
  std::vector<std::thread> threads;
  threads.reserve(all.size());
  for (HandedIn& handed : all) {
    threads.emplace_back([this, one = &handed] { run().Take({&one, 1}); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const HandedIn& handed : all) EXPECT_THAT(*handed.outcome, IsOk());
  EXPECT_THAT(store_.released.get_future().get(), SizeIs(kClients));
}

}  // namespace
}  // namespace fedtune
