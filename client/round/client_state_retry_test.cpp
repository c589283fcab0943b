// SPDX-License-Identifier: Apache-2.0

#include "client/round/client_state.h"
#include "gmock/gmock.h"
#include "tests/support/client_state_fixture.h"

namespace fedtune::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class ClientStateRetryTest : public ClientStateTest {
 protected:
  std::vector<std::string> CannotBegin(const AttemptId& id) {
    return TrainedWith(id, absl::UnavailableError("disk full"));
  }
};

TEST_F(ClientStateRetryTest, WorkThatCannotBeginIsTriedAgainUntilItCan) {
  Accept();
  Assigned(Round(5));
  EXPECT_THAT(CannotBegin(Round(5)), ElementsAre("waiting run-1cd1 5.1: disk full"));
  EXPECT_EQ(client_.wake_at(), now_.monotonic + absl::Seconds(5));
  EXPECT_THAT(AfterTime(absl::Seconds(4)), IsEmpty());
  EXPECT_THAT(AfterTime(absl::Seconds(1)), ElementsAre("train run-1cd1 5.1"));
  EXPECT_THAT(CannotBegin(Round(5)), IsEmpty()) << "it is told once";
  EXPECT_THAT(AfterTime(absl::Seconds(5)), ElementsAre("train run-1cd1 5.1"));
  EXPECT_THAT(TrainedWith(Round(5), absl::OkStatus()), ElementsAre("submit run-1cd1 5.1"));
}

TEST_F(ClientStateRetryTest, AnotherRunIsTrainedMeanwhile) {
  Accept();
  Accept(kNotes);
  Assigned(Round(5));
  Assigned(Round(0, 1, kNotes));
  EXPECT_THAT(CannotBegin(Round(5)),
              ElementsAre("waiting run-1cd1 5.1: disk full", "train run-0072 0.1"));
  EXPECT_THAT(AfterTime(absl::Seconds(5)), IsEmpty());
  EXPECT_THAT(TrainedWith(Round(0, 1, kNotes), absl::OkStatus()),
              ElementsAre("submit run-0072 0.1", "train run-1cd1 5.1"));
}

TEST_F(ClientStateRetryTest, ARoundThatIsOverIsNotTriedAgainAndTheNextBeginsAtOnce) {
  Accept();
  Assigned(Round(5));
  CannotBegin(Round(5));
  Closed(Round(5));
  EXPECT_THAT(AfterTime(absl::Seconds(5)), IsEmpty());
  EXPECT_THAT(Assigned(Round(6)), ElementsAre("train run-1cd1 6.1"));
  CannotBegin(Round(6));
  EXPECT_THAT(Assigned(Round(6, 2)), ElementsAre("train run-1cd1 6.2"));
}

}  // namespace
}  // namespace fedtune::testing
