// SPDX-License-Identifier: Apache-2.0

#include "cli/log_order.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kRun[] = "run-7f3a";

Digest Adapter(int64_t rounds) { return Sha256Of("after " + std::to_string(rounds)); }

LogEvent Begun() { return LogBegun{.id = "5eed"}; }

LogEvent Started(const std::string& run = kRun) {
  return RunStarted{.run = run,
                    .plan = {},
                    .layout = {},
                    .base_digest = "sha256:ab",
                    .adapter = Adapter(0),
                    .started_by = "ada"};
}

// Rounds here are numbered from 1, as for people.
LogEvent Opened(int64_t round, int64_t attempt = 1) {
  return RoundOpened{
      .run = kRun, .round = round - 1, .attempt = attempt, .adapter = Adapter(round - 1)};
}

LogEvent Counted(int64_t round, const std::string& institution) {
  return ContributionCounted{
      .run = kRun, .round = round - 1, .institution = institution, .contribution = {}};
}

LogEvent Released(int64_t round, int64_t contributions, int64_t attempt = 1) {
  return RoundReleased{.run = kRun,
                       .round = round - 1,
                       .attempt = attempt,
                       .contributions = contributions,
                       .adapter = Adapter(round),
                       .burnt = ""};
}

// It leaves the adapter of `left` rounds.
LogEvent Burnt(int64_t round, int64_t attempt, int64_t left) {
  return RoundReleased{.run = kRun,
                       .round = round - 1,
                       .attempt = attempt,
                       .contributions = 0,
                       .adapter = Adapter(left),
                       .burnt = "two dropped out"};
}

LogEvent Closed(const std::string& state) {
  return RunClosed{.run = kRun, .state = state, .reason = ""};
}

LogEvent Reopened() { return RunReopened{.run = kRun}; }

std::vector<std::string> ContradictionsIn(const std::vector<LogEvent>& events) {
  LogOrder order;
  std::vector<std::string> found;
  for (const LogEvent& event : events) {
    const std::optional<std::string> one = order.Follow(event);
    if (one.has_value()) found.push_back(*one);
  }
  return found;
}

// A log in which a run is started, and not right at its beginning, and then these.
std::vector<std::string> ContradictionsOfRun(std::vector<LogEvent> events) {
  events.insert(events.begin(), {Begun(), Started("run-before"), StopAsked{"run-before", "it"},
                                 RunClosed{"run-before", "stopped", "it"}, Started()});
  return ContradictionsIn(events);
}

TEST(LogOrderTest, TakesARunWithAllThatCanHappenInIt) {
  LogOrder order;
  const std::vector<LogEvent> events = {
      Begun(),
      Started(),
      PauseAsked{kRun, "Monday"},
      RunResumed{kRun},
      Opened(1),
      Opened(1, 2),
      Counted(1, "st-anna"),
      Counted(1, "uke"),
      Released(1, 2, 2),
      Opened(2),
      StopAsked{kRun, "wrong data"},
      Closed("stopped"),
      Reopened(),
      Opened(2, 2),
      Counted(2, "uke"),
      Released(2, 1, 2),
      Opened(3),  // The final evaluation.
      Closed("finished"),
  };
  for (const LogEvent& event : events) {
    EXPECT_EQ(order.Follow(event), std::nullopt) << Describe(event);
  }
  EXPECT_EQ(order.runs(), 1u);
  EXPECT_EQ(order.rounds_released(), 2u);
  EXPECT_EQ(order.rounds_burnt(), 0u);
}

TEST(LogOrderTest, ARoundThatBurnsLeavesTheAdapterAndNeedNotBeOpened) {
  EXPECT_THAT(ContradictionsOfRun({Opened(1), Burnt(1, 1, 0), Burnt(2, 1, 0),
                                   RoundOpened{kRun, 2, 1, Adapter(0)}, Burnt(3, 2, 0)}),
              IsEmpty());
  EXPECT_THAT(
      ContradictionsOfRun({Opened(1), Opened(1, 2), Burnt(1, 1, 0)}),
      ElementsAre(HasSubstr("attempt 1 at round 1 of run-7f3a is released, and attempt 2")));
  EXPECT_THAT(ContradictionsOfRun({Opened(1), Released(1, 0), Burnt(2, 1, 0)}),
              ElementsAre(HasSubstr("round 2 of run-7f3a burnt, and leaves sha256:")));
}

TEST(LogOrderTest, RoundsAndAttemptsFollowOnOneAnother) {
  EXPECT_THAT(ContradictionsOfRun({Opened(2)}),
              ElementsAre("round 2 of run-7f3a comes before round 1, which is the next"));
  EXPECT_THAT(ContradictionsOfRun({Opened(1), Released(1, 0), Released(1, 0)}),
              ElementsAre("round 1 of run-7f3a was over, and round 2 is the next"));
  EXPECT_THAT(ContradictionsOfRun({Opened(1), Released(1, 0), Opened(1, 2)}),
              ElementsAre("round 1 of run-7f3a was over, and round 2 is the next"));
  EXPECT_THAT(ContradictionsOfRun({Opened(1), Opened(1)}),
              ElementsAre("attempt 1 at round 1 of run-7f3a follows on attempt 1"));
  EXPECT_THAT(ContradictionsOfRun({Released(1, 0)}),
              ElementsAre("round 1 of run-7f3a is released, and was never opened"));
  EXPECT_THAT(
      ContradictionsOfRun({Opened(1), Opened(1, 2), Released(1, 0)}),
      ElementsAre("attempt 1 at round 1 of run-7f3a is released, and attempt 2 was opened last"));
}

TEST(LogOrderTest, ARoundStartsFromWhatTheOneBeforeHasLeft) {
  const LogEvent opened = RoundOpened{kRun, 1, 1, Adapter(7)};
  EXPECT_THAT(
      ContradictionsOfRun({Opened(1), Released(1, 0), opened, Released(2, 0)}),
      ElementsAre(AllOf(HasSubstr("round 2 of run-7f3a starts from " + Adapter(7).ToString()),
                        HasSubstr(Adapter(1).ToString()))));
  EXPECT_THAT(ContradictionsOfRun({RoundOpened{kRun, 0, 1, Adapter(7)}}),
              ElementsAre(HasSubstr("starts from")));
}

TEST(LogOrderTest, AsManyContributionsAreCountedAsTheReleaseSays) {
  EXPECT_THAT(ContradictionsOfRun({Opened(1), Counted(1, "st-anna"), Released(1, 2)}),
              ElementsAre("round 1 of run-7f3a is released with 2 contributions, and 1 were "
                          "counted"));
  EXPECT_THAT(
      ContradictionsOfRun({Opened(1), Counted(1, "uke"), Counted(1, "uke"), Released(1, 1)}),
      ElementsAre("uke is counted twice in round 1 of run-7f3a"));
  EXPECT_THAT(ContradictionsOfRun({Opened(1), Counted(2, "uke")}),
              ElementsAre(HasSubstr("round 2 of run-7f3a comes before round 1")));
  EXPECT_THAT(ContradictionsOfRun({Opened(1), Counted(1, "uke"), Opened(1, 2)}),
              ElementsAre(HasSubstr("that are counted in no release")));
  EXPECT_THAT(ContradictionsOfRun({Opened(1), Counted(1, "uke"), Closed("failed")}),
              ElementsAre(HasSubstr("that are counted in no release")));
}

TEST(LogOrderTest, NothingFollowsOnTheEndButAReopening) {
  EXPECT_THAT(ContradictionsOfRun({Closed("stopped"), Opened(1)}),
              ElementsAre("run-7f3a had ended"));
  EXPECT_THAT(ContradictionsOfRun({Closed("stopped"), Closed("stopped")}),
              ElementsAre("run-7f3a had ended"));
  EXPECT_THAT(ContradictionsOfRun({Closed("stopped"), PauseAsked{kRun, ""}, Reopened()}),
              ElementsAre("run-7f3a had ended"));
  EXPECT_THAT(ContradictionsOfRun({Closed("finished"), Reopened()}),
              ElementsAre("run-7f3a is reopened, and had finished"));
  EXPECT_THAT(ContradictionsOfRun({Opened(1), Reopened()}),
              ElementsAre("run-7f3a is reopened, and had not ended"));
}

TEST(LogOrderTest, ARunIsStartedOnceAndBeforeAllElse) {
  EXPECT_THAT(ContradictionsOfRun({Started()}), ElementsAre("run-7f3a is started a second time"));
  EXPECT_THAT(ContradictionsIn({Begun(), Opened(1), Released(1, 0)}),
              ElementsAre("run-7f3a was never started"));
  EXPECT_THAT(ContradictionsIn({Begun(), Reopened(), Opened(4)}),
              ElementsAre("run-7f3a is reopened, and was never started"));
  EXPECT_THAT(ContradictionsIn({Begun(), RunResumed{"run\x1b[2J"}}),
              ElementsAre(R"(run\x1b[2J was never started)"));
}

TEST(LogOrderTest, ALogBeginsOnce) {
  EXPECT_THAT(ContradictionsIn({Started()}), ElementsAre(HasSubstr("it is the first, and not")));
  EXPECT_THAT(ContradictionsIn({Begun(), Begun()}), ElementsAre("the log begins a second time"));
}

TEST(LogOrderTest, ARunFromBeforeTheLogBeginsWhereItWas) {
  EXPECT_THAT(ContradictionsIn({Begun(), Started("run-1"), Started(), Counted(4, "uke"),
                                Released(4, 1, 2), Opened(5), Released(5, 0)}),
              IsEmpty());
  EXPECT_THAT(ContradictionsIn({Begun(), Started("run-1"), RoundOpened{"run-1", 6, 2, Adapter(6)},
                                Started(), Opened(4), Released(4, 0), Started("run-2"),
                                RoundOpened{"run-2", 6, 1, Adapter(6)}}),
              ElementsAre(HasSubstr("round 7 of run-2 comes before round 1")));
  EXPECT_THAT(ContradictionsIn({Begun(), Started(), Opened(4, 3), Released(4, 0, 3), Opened(6)}),
              ElementsAre(HasSubstr("round 6 of run-7f3a comes before round 5")));
  EXPECT_THAT(ContradictionsIn({Begun(), Started(), Burnt(4, 1, 2), Opened(5)}),
              ElementsAre(HasSubstr("round 5 of run-7f3a starts from")));
  EXPECT_THAT(ContradictionsIn({Begun(), Started(), RoundOpened{kRun, 0, 1, Adapter(7)}}),
              ElementsAre(HasSubstr("round 1 of run-7f3a starts from")));
  EXPECT_THAT(ContradictionsOfRun({Reopened(), Opened(4, 3), Released(4, 0, 3)}), IsEmpty());
}

}  // namespace
}  // namespace fedtune
