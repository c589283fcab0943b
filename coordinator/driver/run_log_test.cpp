// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/run_log.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class RunLogTest : public ::testing::Test {
 protected:
  std::vector<std::string> lines_;
  Log log_{[this](std::string_view line) { lines_.emplace_back(line); }};
  const RunLog run_log_{{"run-0001"}, log_};
};

TEST_F(RunLogTest, CountsRoundsFromOne) {
  ReleaseRecord first;
  first.summary = {.round = 0, .contributions = 3, .training_loss = 1.25};
  run_log_.Released(first);
  EXPECT_THAT(lines_, ElementsAre(AllOf(HasSubstr("run=run-0001"), HasSubstr("round=1"),
                                        HasSubstr("contributions=3"), HasSubstr("loss=1.2500"))));
}

TEST_F(RunLogTest, SaysOfABurntRoundWhyItIsOverBeforeThatItIs) {
  ReleaseRecord burnt;
  burnt.summary = {.round = 1, .burnt = "an impossible sum"};
  run_log_.Released(burnt);
  EXPECT_THAT(lines_,
              ElementsAre(AllOf(HasSubstr("round burnt"), HasSubstr("an impossible sum")),
                          AllOf(HasSubstr("round released"), HasSubstr("contributions=0"))));
}

TEST_F(RunLogTest, TellsAClientThatSitsOutFromOneThatIsLeftOutOfASecureRound) {
  run_log_.Fault({.institution = {"ada"}, .round = 1, .what = "slow", .back_in_round = 4});
  run_log_.Fault({.institution = {"bea"}, .round = 1, .what = "a forged signature"});
  EXPECT_THAT(lines_, ElementsAre(AllOf(HasSubstr("sits out"), HasSubstr("client=ada"),
                                        HasSubstr("until_round=5"), Not(HasSubstr(" round="))),
                                  AllOf(HasSubstr("left out"), HasSubstr("client=bea"),
                                        HasSubstr("round=2"), HasSubstr("a forged signature"))));
}

TEST_F(RunLogTest, NamesEachClientWhoseContributionIsLost) {
  run_log_.Lost({{"ada"}, {"bea"}}, absl::DataLossError("a bad sector"));
  EXPECT_THAT(lines_, ElementsAre(AllOf(HasSubstr("client=ada"), HasSubstr("a bad sector")),
                                  AllOf(HasSubstr("client=bea"), HasSubstr("a bad sector"))));
}

}  // namespace
}  // namespace fedtune
