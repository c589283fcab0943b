// SPDX-License-Identifier: Apache-2.0

// Contributions that come at the same time: stored together, and each for itself.

#include <atomic>
#include <functional>
#include <future>
#include <latch>
#include <thread>

#include "aggregation/adapter_bytes.h"
#include "coordinator/driver/active_runs.h"
#include "coordinator/driver/run_parts.h"
#include "coordinator/storage/forwarding_store.h"
#include "coordinator/storage/sqlite_federation_store.h"
#include "coordinator/storage/sqlite_run_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using ::testing::Field;
using testing::HasCode;
using testing::IsOk;
using ::testing::SizeIs;
using testing::TemporaryDirectory;
using testing::TinyModelJson;

constexpr size_t kValues = 5;

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

class SilentLine final : public ClientLine {
 public:
  void Send(const ClientCommand&) override {}
  void Close(absl::Status) override {}
};

class TakenTogetherTest : public ::testing::Test {
 protected:
  ~TakenTogetherTest() override { runs_->Shutdown(); }

  void Begin() {
    runs_ = std::make_unique<ActiveRuns>(store_, spool_, roster_, nullptr, clock_, log_,
                                         absl::Milliseconds(1));
  }

  // A run of one round with so many clients, all of whom are asked. The plan may say
  // more of its rounds.
  void StartRun(int clients, std::string_view rounds = "") {
    Begin();
    for (int i = 0; i < clients; ++i) {
      clients_.push_back({fmt::format("site-{}", i)});
      roster_.Connect(clients_.back(), std::make_shared<SilentLine>());
    }
    const auto started = runs_->Start(*PartsOfNewRun({.request_id = "first",
                                                      .plan_toml = fmt::format(kPlan, rounds),
                                                      .base_model_json = TinyModelJson(),
                                                      .started_by = "grace"},
                                                     kRun, catalogue_, clock_.Now()));
    ASSERT_THAT(started, IsOk());
    for (const Institution& client : clients_) run().Receive(client, RunAccepted{10});
    ASSERT_EQ(run().overview().view.phase, RunPhase::kTraining);
    store_.transactions.clear();
  }

  RunDriver& run() { return *runs_->Find(kRun); }

  // What this client has trained, come whole.
  HandedIn Trained(const Institution& from, float value = 1, int64_t round = 0) {
    const RunOverview overview = run().overview();
    ContributionHeader header{.round = round,
                              .attempt = overview.view.attempt,
                              .adapter = overview.record.adapter,
                              .layout = Sha256Of(run().layout().ToJson()),
                              .factors = static_cast<uint32_t>(FactorSet::kBoth),
                              .size_bytes = kValues * sizeof(float)};
    const std::vector<float> values(kValues, value);
    header.sha256 = Sha256Of(ValueBytes(values));
    ContributionBuffer buffer =
        *ContributionBuffer::Create(header, *SpooledBytes::Create(spool_, kRun, header.size_bytes));
    EXPECT_THAT(buffer.Append(0, ValueBytes(values)), IsOk());
    return {.from = from, .header = header, .what = *std::move(buffer).Finish()};
  }

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
    for (const Institution& client : clients_) all.push_back(Trained(client));
    return all;
  }

  static constexpr absl::StatusCode kOk = absl::StatusCode::kOk;
  static constexpr char kPlan[] = R"(name = "icd10"
base_model = "tiny"
[adapter]
rank = 1
targets = ["q_proj"]
[training]
steps = 1
[rounds]
count = 1
quorum = 2
{}
[aggregation]
mode = "plain"
method = "fedit"
)";

  const RunId kRun{"run-0001"};
  const TemporaryDirectory directory_;
  const std::shared_ptr<StateDatabase> state_ =
      *OpenStateDatabase(directory_.path() / "fedtune.sqlite");
  const std::unique_ptr<RunStore> stored_ =
      *SqliteRunStore::Open(state_, {.blobs = directory_.path() / "blobs"});
  const Spool spool_ = *Spool::Open(directory_.path() / "spool");
  const SqliteFederationStore catalogue_{state_};
  const SystemClock clock_ = {};
  Log log_;
  Roster roster_;
  WatchedStore store_{*stored_};
  std::vector<Institution> clients_;
  std::unique_ptr<ActiveRuns> runs_;
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
  all.push_back(Trained(clients_[0]));
  all.push_back(Trained(clients_[1], 1, /*round=*/7));
  all.push_back(Trained(clients_[2], 1e9));
  EXPECT_THAT(Take(std::move(all)), ElementsAre(kOk, absl::StatusCode::kFailedPrecondition,
                                                absl::StatusCode::kOutOfRange));
  EXPECT_THAT(store_.transactions, ElementsAre(1));
}

TEST_F(TakenTogetherTest, OneClientCountsOnce) {
  StartRun(2);
  std::vector<HandedIn> all;
  all.push_back(Trained(clients_[0], 1));
  all.push_back(Trained(clients_[0], 2));
  all.push_back(Trained(clients_[0], 1));
  EXPECT_THAT(Take(std::move(all)), ElementsAre(kOk, absl::StatusCode::kFailedPrecondition, kOk));
  EXPECT_THAT(store_.transactions, ElementsAre(1));
  EXPECT_THAT(Take(TrainedByAll()), ElementsAre(kOk, kOk));
  EXPECT_THAT(store_.released.get_future().get(), SizeIs(2));
}

TEST_F(TakenTogetherTest, WhatCannotBeStoredCountsForNobody) {
  StartRun(2);
  store_.refusals = 1;
  const auto unavailable = absl::StatusCode::kUnavailable;
  EXPECT_THAT(Take(TrainedByAll()), ElementsAre(unavailable, unavailable));
  for (const ClientView& client : run().overview().view.clients) {
    EXPECT_NE(client.state, ClientStanding::kDone);
  }
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
  Begin();
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
