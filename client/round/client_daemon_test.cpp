// SPDX-License-Identifier: Apache-2.0

#include "client/round/client_daemon.h"

#include <string>
#include <string_view>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "tests/support/client_daemon_fixture.h"

namespace fedtune {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Ge;
using testing::kRun;
using ::testing::Le;

using ClientDaemonTest = testing::ClientDaemonFixture;

TEST_F(ClientDaemonTest, TakesARoundFromInvitationToContribution) {
  Invite();
  journal_.Await("answered true");
  Assign(0);
  journal_.Await("submitted round 0");
}

TEST_F(ClientDaemonTest, TellsThatItUploads) {
  Invite();
  Assign(4);
  journal_.Await("is training");
  journal_.Await("is uploading");
}

TEST_F(ClientDaemonTest, SubmitsAgainWhenTheAssignmentIsRepeated) {
  Invite();
  Assign(0);
  journal_.Await("submitted round 0");
  daemon_.OnLost(absl::UnavailableError("cut"), absl::Seconds(1));
  Welcomes();
  Assign(0);
  // The first submission may still be under way when the assignment comes: then
  // it is not repeated, and need not be.
  Says(RunOver{.run = kRun});
  journal_.Await("forgot run-1cd1");
  EXPECT_THAT(journal_.lines(), Contains("began round 0").Times(1));
}

TEST_F(ClientDaemonTest, SaysOnceThatAContributionIsNotTakenHoweverOftenItIsOffered) {
  workshop_.secure = true;
  Invite();
  journal_.Await("answered true");
  Assign(0);
  const AttemptId id{.run = kRun, .round = 0};
  for (const uint8_t kind : {9, 9, 9, 2}) {
    Says(SecureMessage{.id = id, .message = {kind}});
  }
  journal_.Await("answered 2 in round 0");
  Invite();  // It is answered when all outcomes before have been seen.
  journal_.Await("answered true", 2);
  EXPECT_EQ(LinesLogged("contribution not taken"), 1);
}

TEST_F(ClientDaemonTest, SaysOnceForEachReasonThatThereIsNoConnection) {
  for (const std::string_view why : {"nobody listens", "nobody listens", "expired", "expired"}) {
    daemon_.OnLost(absl::UnavailableError(std::string(why)), absl::Seconds(1));
  }
  Welcomes();
  daemon_.OnLost(absl::UnavailableError("nobody listens"), absl::Seconds(1));
  Invite();  // It is answered when all of this has been seen.
  journal_.Await("answered true");
  EXPECT_EQ(LinesLogged("nobody listens"), 2);
  EXPECT_EQ(LinesLogged("expired"), 1);
}

TEST_F(ClientDaemonTest, DoesNotFillTheLogWithReasonsThatAreEverNew) {
  for (int i = 0; i < 100; ++i) {
    daemon_.OnLost(absl::UnavailableError(fmt::format("port {}", i)), absl::Seconds(1));
  }
  Invite();
  journal_.Await("answered true");
  EXPECT_EQ(LinesLogged("no connection"), 8);
}

TEST_F(ClientDaemonTest, AnswersInvitationsWhileItTrains) {
  Invite();
  Assign(1);
  journal_.Await("began round 1");
  Says(Invitation{.run = "run-0002"});
  journal_.Await("answered true", 2);
}

TEST_F(ClientDaemonTest, TellsWhyARoundFailed) {
  Invite();
  Assign(2);
  journal_.Await("failed: the loss is not finite");
}

TEST_F(ClientDaemonTest, TellsNoPathOfThisMachine) {
  Invite();
  Assign(3);
  journal_.Await("failed: cannot open <base model>/config.json: No such file");
}

TEST_F(ClientDaemonTest, PassesTheMessagesOfASecureRoundOn) {
  workshop_.secure = true;
  Invite();
  Assign(0);
  journal_.Await("began to aggregate round 0");
  const AttemptId id{.run = kRun, .round = 0};
  Says(SecureMessage{.id = id, .message = {2}});
  journal_.Await("answered 2 in round 0");
  Says(SecureMessage{.id = id, .message = {8}});
  journal_.Await("answered 8 in round 0");
  Says(RoundOver{.id = id});
  journal_.Await("ended the aggregation of run-1cd1");
}

TEST_F(ClientDaemonTest, TellsWhyASecureRoundWasGivenUp) {
  workshop_.secure = true;
  Invite();
  Assign(0);
  journal_.Await("began to aggregate round 0");
  Says(SecureMessage{.id = {.run = kRun, .round = 0}, .message = {6}});
  journal_.Await("failed: the coordinator tells two stories");
}

// Of 1 MiB, that is: as much as may wait.
TEST_F(ClientDaemonTest, HearsNothingMoreOfACoordinatorThatChangesItsInvitationWithoutEnd) {
  workshop_.before_study = [this] { journal_.Await("may study"); };
  const size_t heard = SaysAllThatIsHeard([](size_t i) {
    return Invitation{.run = kRun, .plan_toml = fmt::format("{}{}", std::string(100'000, 'x'), i)};
  });
  EXPECT_THAT(heard, AllOf(Ge(5u), Le(10u)));
  journal_.Write("may study");
  journal_.Await("answered true", heard);
  Invite();
  journal_.Await("answered true", heard + 1);
}

TEST_F(ClientDaemonTest, NorOfOneThatGoesOnWithASecureAggregationBeforeItIsAnswered) {
  workshop_.secure = true;
  workshop_.before_answer = [this] { journal_.Await("may answer"); };
  Invite();
  journal_.Await("answered true");
  Assign(0);
  journal_.Await("began to aggregate round 0");
  const size_t heard = SaysAllThatIsHeard([](size_t) {
    return SecureMessage{.id = {.run = kRun, .round = 0}, .message = Bytes(100'000, 2)};
  });
  EXPECT_THAT(heard, AllOf(Ge(5u), Le(10u)));
  journal_.Write("may answer");
  journal_.Await("answered 2 in round 0", heard);
}

TEST_F(ClientDaemonTest, NorOfOneThatTellsOfEndsOfRunsWithoutEnd) {
  workshop_.before_study = [this] { journal_.Await("may study"); };
  workshop_.before_answer = [this] { journal_.Await("may answer"); };
  workshop_.secure = true;
  Invite();
  journal_.Write("may study");
  journal_.Await("answered true");
  Assign(0);
  journal_.Await("began to aggregate round 0");
  Says(SecureMessage{.id = {.run = kRun, .round = 0}, .message = {2}});
  const size_t heard = SaysAllThatIsHeard(
      [](size_t i) { return RunOver{.run = fmt::format("run-{}", i), .state = "finished"}; });
  EXPECT_THAT(heard, Le(1'100u)) << "behind an answer that takes its time";
  journal_.Write("may answer");
}

}  // namespace
}  // namespace fedtune
