// SPDX-License-Identifier: Apache-2.0

#include "gmock/gmock.h"
#include "tests/support/client_state_fixture.h"

namespace fedtune::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A hospital in a run that aggregates securely.
class SecureClientStateTest : public ClientStateTest {
 protected:
  SecureClientStateTest() { Invited(); }

  std::vector<std::string> Studied() {
    return After(Report(fedtune::Studied{{.run = kIcd, .accepted = true, .secure = true}}));
  }
  std::vector<std::string> Heard(const AttemptId& id, uint8_t kind) {
    return After(Instruction(SecureMessage{.id = id, .message = {kind}}));
  }
  void Begin() {
    Studied();
    Assigned(Round(0));
    TrainedWith(Round(0), absl::OkStatus());
  }
};

TEST_F(SecureClientStateTest, GoesThroughARound) {
  Begin();
  EXPECT_THAT(Heard(Round(0), 2), ElementsAre("answer 2 in run-1cd1 0.1"));
  EXPECT_THAT(Heard(Round(0), 8), ElementsAre("answer 8 in run-1cd1 0.1"));
  EXPECT_THAT(SubmittedWith(Round(0), absl::OkStatus()), IsEmpty());
  EXPECT_THAT(Heard(Round(0), 8), ElementsAre("answer 8 in run-1cd1 0.1")) << "asked again";
}

// Its keys are for the model that the other adapter makes.
TEST_F(SecureClientStateTest, AnAttemptThatItHasBegunIsNotBegunAnewFromAnotherAdapter) {
  Begin();
  EXPECT_THAT(AssignedFromAnotherAdapter(Round(0)),
              ElementsAre("end aggregation run-1cd1", HasSubstr("failed run-1cd1 0.1: ")));
  EXPECT_THAT(Assigned(Round(0, 2)), ElementsAre("end aggregation run-1cd1", "train run-1cd1 0.2"));
}

TEST_F(SecureClientStateTest, SaysWhatItSaidLastWhenTheAssignmentIsRepeated) {
  Begin();
  EXPECT_THAT(Assigned(Round(0)), ElementsAre("submit run-1cd1 0.1"));
  SubmittedWith(Round(0), absl::OkStatus());
  EXPECT_THAT(Assigned(Round(0)), ElementsAre("submit run-1cd1 0.1"));
}

TEST_F(SecureClientStateTest, IgnoresMessagesOfAnotherAttempt) {
  Begin();
  EXPECT_THAT(Heard(Round(0, 2), 2), IsEmpty());
  EXPECT_THAT(Heard(Round(1), 2), IsEmpty());
  EXPECT_THAT(Heard(Round(0, 1, kNotes), 2), IsEmpty());
}

TEST_F(SecureClientStateTest, IgnoresMessagesInAPlainRun) {
  Accept(kNotes);
  Assigned(Round(0, 1, kNotes));
  EXPECT_THAT(Heard(Round(0, 1, kNotes), 2), IsEmpty());
}

TEST_F(SecureClientStateTest, AnswersForAnEarlierProcessWhenTheRunIsStudied) {
  Assigned(Round(0));
  EXPECT_THAT(Heard(Round(0), 6), IsEmpty());
  EXPECT_THAT(Studied(),
              ElementsAre("accept run-1cd1", "answer 6 in run-1cd1 0.1", "train run-1cd1 0.1"));
  EXPECT_THAT(Heard(Round(0), 8), ElementsAre("answer 8 in run-1cd1 0.1"));
  EXPECT_THAT(SubmittedWith(Round(0), absl::OkStatus()), ElementsAre("stop"));
  EXPECT_THAT(TrainedWith(Round(0), absl::CancelledError("stopped")), IsEmpty());
}

TEST_F(SecureClientStateTest, StopsTrainingWhenTheAggregationOfAnEarlierProcessFails) {
  Studied();
  Assigned(Round(0));
  EXPECT_THAT(SubmittedWith(Round(0), absl::UnavailableError("disk full")), IsEmpty());
  EXPECT_THAT(SubmittedWith(Round(0), absl::AbortedError("two stories")),
              ElementsAre("stop", "failed run-1cd1 0.1: two stories"));
}

TEST_F(SecureClientStateTest, TellsWhyItsAggregationWasGivenUpAndHearsNothingMore) {
  Begin();
  EXPECT_THAT(SubmittedWith(Round(0), absl::AbortedError("two stories")),
              ElementsAre("failed run-1cd1 0.1: two stories"));
  EXPECT_THAT(Heard(Round(0), 8), IsEmpty());
  EXPECT_THAT(Assigned(Round(0)), ElementsAre("failed run-1cd1 0.1: two stories"));
}

TEST_F(SecureClientStateTest, TriesAgainWhenTheDiskWasFull) {
  Begin();
  EXPECT_THAT(SubmittedWith(Round(0), absl::UnavailableError("disk full")), IsEmpty());
  EXPECT_THAT(AfterTime(absl::Seconds(5)), ElementsAre("submit run-1cd1 0.1"));
}

TEST_F(SecureClientStateTest, EndsTheAggregationOfARoundThatIsOver) {
  Begin();
  EXPECT_THAT(Closed(Round(0)), ElementsAre("end aggregation run-1cd1"));
  EXPECT_THAT(Heard(Round(0), 8), IsEmpty());
}

TEST_F(SecureClientStateTest, EndsTheAggregationWhenANewAttemptBegins) {
  Begin();
  EXPECT_THAT(Assigned(Round(0, 2)), ElementsAre("end aggregation run-1cd1", "train run-1cd1 0.2"));
}

}  // namespace
}  // namespace fedtune::testing
