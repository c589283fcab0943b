// SPDX-License-Identifier: Apache-2.0

#include "client/commands/work_log.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "tests/support/fake_clock.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class WorkLogTest : public ::testing::Test {
 protected:
  // Training, `after` the last time.
  void Tell(absl::Duration after, double fraction, int64_t round = 7) {
    clock_.Advance(after);
    observer_({.id = {.run = "run-1", .round = round},
               .phase = WorkPhase::kTraining,
               .fraction = fraction,
               .tokens_per_second = 812.4});
  }

  testing::FakeClock clock_;
  std::vector<std::string> lines_;
  Log log_{[this](std::string_view line) { lines_.emplace_back(line); }};
  WorkObserver observer_ = WorkTo(clock_, log_);
};

TEST_F(WorkLogTest, SaysNothingOfWorkThatIsSoonDone) {
  Tell(absl::ZeroDuration(), 0);
  Tell(absl::Seconds(1), 1);
  EXPECT_THAT(lines_, IsEmpty());
}

TEST_F(WorkLogTest, SaysOnceAMinuteHowFarLongWorkIs) {
  Tell(absl::ZeroDuration(), 0);
  for (int second = 3; second < 120; second += 3) Tell(absl::Seconds(3), second / 300.0);
  EXPECT_THAT(lines_, ElementsAre("info at work run=run-1 round=8 phase=training done=1% "
                                  "tokens_per_second=812",
                                  "info at work run=run-1 round=8 phase=training done=21% "
                                  "tokens_per_second=812"));
}

TEST_F(WorkLogTest, SaysNothingOfRoundsThatFollowEachOtherQuickly) {
  for (int64_t round = 0; round < 100; ++round) Tell(absl::Seconds(1), 0.5, round);
  EXPECT_THAT(lines_, IsEmpty());
}

TEST_F(WorkLogTest, SaysNoRateWhereThereIsNone) {
  observer_({.id = {.run = "run-1", .round = 7}, .phase = WorkPhase::kEvaluating});
  clock_.Advance(absl::Seconds(3));
  observer_({.id = {.run = "run-1", .round = 7}, .phase = WorkPhase::kEvaluating, .fraction = 0.5});
  EXPECT_THAT(lines_, ElementsAre("info at work run=run-1 round=8 phase=evaluating done=50%"));
}

}  // namespace
}  // namespace fedtune
