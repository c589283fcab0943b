// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/release/pending_release.h"

#include <utility>
#include <variant>
#include <vector>

#include "coordinator/storage/forwarding_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/stored_run.h"

namespace fedtune {
namespace {

using ::testing::HasSubstr;

// A store that says this of a release, and keeps none.
class AnsweringStore final : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;

  absl::Status SaveRelease(const RunId&, const NewRelease& release) override {
    last_.record = release.record;
    last_.traffic = release.traffic;
    return answer_;
  }
  void Answer(absl::Status answer) { answer_ = std::move(answer); }
  const NewRelease& last() const { return last_; }

 private:
  absl::Status answer_;
  NewRelease last_;
};

// The release of a round that has burnt: the adapter stays.
class PendingReleaseTest : public testing::StoredRunFixture {
 protected:
  PendingRelease::Outcome Complete() {
    return release_.Complete([this] { return traffic_; }, time_);
  }

  AnsweringStore store_{*stored_};
  testing::FakeClock time_;
  Traffic traffic_;
  const Plan plan_ = {};
  const AdapterLayout layout_ = *AdapterLayout::Create(
      {{.name = "q", .in_features = 3, .out_features = 2, .lora_rank = 1, .alpha = 1}});
  const GlobalAdapter adapter_{std::vector<float>(kValues, 1)};
  PendingRelease release_{{.run = kRun, .plan = plan_, .layout = layout_, .store = store_},
                          {.effect = {.round = 3,
                                      .incoming = adapter_.digest(),
                                      .summary = {.round = 3, .burnt = "an impossible sum"},
                                      .unchanged = true},
                           .sum = std::monostate{},
                           .newest = adapter_,
                           .optimizer = {},
                           .wanted_at = time_.Now()}};
};

TEST_F(PendingReleaseTest, IsStoredWithTheTimeAndTheTrafficOfThen) {
  const absl::Time wanted = time_.Now();
  time_.Advance(absl::Seconds(7));
  traffic_.bytes_sent = 9;
  const PendingRelease::Outcome outcome = Complete();
  const auto* stored = std::get_if<ReleaseRecord>(&outcome);
  ASSERT_NE(stored, nullptr);
  EXPECT_EQ(stored->adapter, adapter_.digest());
  EXPECT_EQ(stored->started_at, wanted);
  EXPECT_EQ(stored->ended_at, time_.Now());
  EXPECT_EQ(store_.last().traffic.bytes_sent, 9u);
  EXPECT_EQ(release_.adapter().digest(), adapter_.digest());
}

TEST_F(PendingReleaseTest, GoesOnOnceTheStoreTakesItAgain) {
  for (const absl::Status& full :
       {absl::ResourceExhaustedError("disk full"), absl::UnavailableError("held")}) {
    store_.Answer(full);
    const PendingRelease::Outcome outcome = Complete();
    const auto* refuses = std::get_if<PendingRelease::StoreRefuses>(&outcome);
    ASSERT_NE(refuses, nullptr);
    EXPECT_EQ(refuses->why, full);
  }
  store_.Answer(absl::OkStatus());
  EXPECT_TRUE(std::holds_alternative<ReleaseRecord>(Complete()));
}

TEST_F(PendingReleaseTest, FailsForGoodWhereTheStoreIsDamaged) {
  store_.Answer(absl::DataLossError("the file is damaged"));
  const PendingRelease::Outcome outcome = Complete();
  const auto* failed = std::get_if<ReleaseFailed>(&outcome);
  ASSERT_NE(failed, nullptr);
  EXPECT_THAT(failed->reason, HasSubstr("the file is damaged"));
  EXPECT_FALSE(failed->is_impossible_sum);
}

}  // namespace
}  // namespace fedtune
