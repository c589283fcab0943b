// SPDX-License-Identifier: Apache-2.0

// Who sits out does so whichever process asks for the next round.

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/held_run.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using testing::IsOk;
using ::testing::Not;

// Two of three clients are asked in a round, and both are needed.
class SittingOutTest : public testing::HeldRunFixture {
 protected:
  SittingOutTest() {
    for (const char* name : {"ada", "bea", "coy"}) Connect({name});
    NewHeldProcess(*stored_);
    run_ = Start("count = 100\nquorum = 2\ncohort_size = 2");
    for (const Institution& each : lines_.Connected()) run_->Receive(each, RunAccepted{10});
    timers_->Pass(absl::Seconds(1));  // Their answers are stored.
  }

  void Restart() {
    NewHeldProcess(*stored_);
    ASSERT_THAT(runs_->ResumeAll(), IsOk());
    run_ = runs_->Find(kRun);
    ASSERT_NE(run_, nullptr);
  }

  std::vector<Institution> Asked() const {
    std::vector<Institution> asked;
    for (const ClientView& client : view().clients) {
      if (client.awaited) asked.push_back(client.institution);
    }
    return asked;
  }

  std::string ReasonOf(const Institution& institution) const {
    const std::vector<ClientView> clients = view().clients;
    return std::ranges::find(clients, institution, &ClientView::institution)->reason;
  }

  void RoundCounts() {
    const int64_t round = view().rounds_done;
    for (const Institution& each : Asked()) {
      EXPECT_THAT(HandIn(*run_, Trained(each, round, 1)), IsOk());
      timers_->Pass(absl::ZeroDuration());
    }
    ASSERT_EQ(view().rounds_done, round + 1);
  }

  // In the next round in which it is asked.
  void Fails(const Institution& failing) {
    while (std::ranges::count(Asked(), failing) == 0) RoundCounts();
    run_->Receive(failing, ClientFailed{view().rounds_done, 1, "out of memory"});
  }

  // Nothing is open then.
  void PausesAfterTheRound() {
    ASSERT_THAT(run_->Pause("the site moves"), IsOk());
    RoundCounts();
    ASSERT_EQ(view().state, RunState::kPaused);
  }
};

TEST_F(SittingOutTest, IsKnownToEveryProcessBetweenTwoRounds) {
  const Institution failing = Asked().front();
  Fails(failing);
  Fails(failing);  // For the second time: it sits out the round after this one, too.
  PausesAfterTheRound();
  const std::string why = ReasonOf(failing);
  ASSERT_THAT(why, HasSubstr("out of memory"));
  for (int restart = 0; restart < 2; ++restart) {
    Restart();
    EXPECT_EQ(ReasonOf(failing), why);
  }
  ASSERT_THAT(run_->Resume(), IsOk());
  EXPECT_THAT(Asked(), Not(Contains(failing)));
}

TEST_F(SittingOutTest, LastsLongerEachTimeWhateverProcessesThereAre) {
  const Institution failing = Asked().front();
  Fails(failing);
  Fails(failing);
  RoundCounts();
  PausesAfterTheRound();
  Restart();
  EXPECT_EQ(ReasonOf(failing), "");
  ASSERT_THAT(run_->Resume(), IsOk());
  Fails(failing);
  EXPECT_THAT(ReasonOf(failing),
              HasSubstr(fmt::format("sits out until round {}:", view().rounds_done + 4 + 1)));
}

}  // namespace
}  // namespace fedtune
