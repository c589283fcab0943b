// SPDX-License-Identifier: Apache-2.0

// Attempts that are over before their opening could be stored.

#include <memory>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/full_store.h"
#include "tests/support/held_run.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::Contains;
using testing::FullStore;
using ::testing::HasSubstr;
using testing::IsOk;
using ::testing::Not;

const Institution kAda{"ada"};
const Institution kBea{"bea"};
const Institution kCleo{"cleo"};

// Writes down which rounds its client is told of.
class WritingLine final : public ClientLine {
 public:
  explicit WritingLine(std::vector<std::string>& lines) : lines_(lines) {}

  void Send(const ClientCommand& command) override {
    if (const auto* assigned = std::get_if<RoundAssignment>(&command.what)) {
      lines_.push_back(fmt::format("assign {}.{}", assigned->round, assigned->attempt));
    }
    if (const auto* closed = std::get_if<RoundClosing>(&command.what)) {
      lines_.push_back(fmt::format("close {}.{}", closed->round, closed->attempt));
    }
    if (std::holds_alternative<RunEnd>(command.what)) lines_.emplace_back("end");
  }
  void Close(absl::Status) override {}
  void Abandon(absl::Status) override {}

 private:
  std::vector<std::string>& lines_;
};

// Of three clients two are asked in each round.
class UnstoredOpeningTest : public testing::HeldRunFixture {
 protected:
  UnstoredOpeningTest() {
    for (const Institution& each : {kAda, kBea, kCleo}) {
      lines_.Connect(each, std::make_shared<WritingLine>(told_));
    }
    NewHeldProcess(store_);
    run_ = Start("count = 1\nquorum = 2\ncohort_size = 2\ndeadline = \"10m\"");
    run_->Receive(kAda, RunAccepted{10});
    run_->Receive(kBea, RunAccepted{10});
    store_.is_full = true;
    run_->Receive(kCleo, RunAccepted{10});
  }

  void GetSpace() {
    store_.is_full = false;
    timers_->Pass(absl::Minutes(1));
  }

  FullStore store_{*stored_};
  std::vector<std::string> told_;
};

TEST_F(UnstoredOpeningTest, ClientsAreToldOfTheLastAttemptAlone) {
  ASSERT_EQ(view().attempt, 1);
  run_->Receive(kAda, RunDeclined{"rank 64"});
  if (view().attempt == 1) {  // It is not one of the two.
    run_->Receive(kAda, RunAccepted{10});
    run_->Receive(kBea, RunDeclined{"rank 64"});
  }
  ASSERT_EQ(view().attempt, 2);
  GetSpace();
  EXPECT_THAT(told_, Not(Contains(HasSubstr("0.1"))));
  EXPECT_THAT(told_, Contains("assign 0.2"));
}

TEST_F(UnstoredOpeningTest, OfARunThatHasEndedTheyHearNothingElse) {
  ASSERT_EQ(view().attempt, 1);
  ASSERT_THAT(run_->Stop("enough"), IsOk());
  GetSpace();
  EXPECT_THAT(told_, ::testing::ElementsAre("end", "end", "end"));
}

}  // namespace
}  // namespace fedtune
