// SPDX-License-Identifier: Apache-2.0

// What a daemon gives up and forgets: when a round closes, when a run ends, and when it ends
// itself.

#include <algorithm>
#include <string>
#include <vector>

#include "client/round/client_daemon.h"
#include "gmock/gmock.h"
#include "tests/support/client_daemon_fixture.h"

namespace fedtune {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using testing::kRun;
using ::testing::Not;

using ClientDaemonTest = testing::ClientDaemonFixture;

TEST_F(ClientDaemonTest, StopsTheWorkOfARoundThatCloses) {
  Invite();
  Assign(1);
  journal_.Await("began round 1");
  Says(RoundOver{.id = {.run = kRun, .round = 1}});
  journal_.Await("stopped");
}

TEST_F(ClientDaemonTest, ALongUploadForARoundThatHasClosedHoldsUpNoOthers) {
  Invite();
  Assign(4);
  journal_.Await("submitted round 4");
  Says(RoundOver{.id = {.run = kRun, .round = 4}});
  Assign(0);
  Invite();
  journal_.Await("answered true", 2);
  clock_.Advance(absl::Seconds(10));
  Invite();  // Any event: it looks at the clock.
  journal_.Await("submitted round 0");
  EXPECT_EQ(LinesLogged("contribution not taken"), 0);
}

TEST_F(ClientDaemonTest, GivesUpAnUploadWhenItIsStopped) {
  Invite();
  Assign(4);
  journal_.Await("submitted round 4");
  thread_.request_stop();
  thread_.join();
}

// The next process takes it up again.
TEST_F(ClientDaemonTest, TellsNothingOfWorkWhoseFailureEndsTheClient) {
  workshop_.end = [this] { thread_.request_stop(); };
  Invite();
  Assign(5);
  thread_.join();
  EXPECT_THAT(journal_.lines(), Not(Contains("failed: the GPU is lost")));
}

TEST_F(ClientDaemonTest, ForgetsARunThatEnds) {
  Invite();
  journal_.Await("answered true");
  Says(RunOver{.run = kRun, .state = "finished"});
  journal_.Await("forgot run-1cd1");
}

TEST_F(ClientDaemonTest, DiscardsWhatIsStoredOfARunWhenItsWorkHasEnded) {
  Invite();
  Assign(1);
  journal_.Await("began round 1");
  Says(RunOver{.run = kRun, .state = "stopped"});
  journal_.Await("discarded run-1cd1");
  const std::vector<std::string> lines = journal_.lines();
  EXPECT_LT(std::find(lines.begin(), lines.end(), "stopped"),
            std::find(lines.begin(), lines.end(), "discarded run-1cd1"));
}

TEST_F(ClientDaemonTest, KeepsOnlyWhatIsStoredOfOpenRuns) {
  Invite();
  journal_.Await("answered true");
  Welcomes({.runs_under_way = std::vector<std::string>{kRun}});
  journal_.Await("kept only 1 runs");
  journal_.Await("ended aggregations but of 1 runs");
  EXPECT_EQ(LinesLogged("run has ended meanwhile"), 0);
}

TEST_F(ClientDaemonTest, SaysThatARunHasEndedWhileItWasAway) {
  Invite();
  journal_.Await("answered true");
  Welcomes({.runs_under_way = std::vector<std::string>{"run-0002"}});
  journal_.Await("discarded run-1cd1");
  EXPECT_EQ(LinesLogged("run has ended meanwhile"), 1);
}

TEST_F(ClientDaemonTest, EndsTheAggregationOfARunThatEnds) {
  Invite();
  journal_.Await("answered true");
  Says(RunOver{.run = kRun, .state = "finished"});
  journal_.Await("ended the aggregation of run-1cd1");
}

TEST_F(ClientDaemonTest, GivesUpItsWorkWhenItIsStopped) {
  Invite();
  Assign(1);
  journal_.Await("began round 1");
  thread_.request_stop();
  thread_.join();
  EXPECT_THAT(journal_.lines(), AllOf(Contains("stopped"), Not(Contains("submitted round 1"))));
}

TEST_F(ClientDaemonTest, StopsToStudyARunThatIsOver) {
  workshop_.waits_for_the_log = true;
  Says(Invitation{.run = "run-1"});
  journal_.Await("waits for the log");
  workshop_.waits_for_the_log = false;
  Says(RunOver{.run = "run-1"});
  journal_.Await("stopped to study");
  Says(Invitation{.run = "run-2"});
  journal_.Await("answered true");
}

TEST_F(ClientDaemonTest, StopsToStudyWhenItEnds) {
  workshop_.waits_for_the_log = true;
  Says(Invitation{.run = "run-1"});
  journal_.Await("waits for the log");
  thread_.request_stop();
  journal_.Await("stopped to study");
}

}  // namespace
}  // namespace fedtune
