// SPDX-License-Identifier: Apache-2.0

// A client that works at night.

#include "gmock/gmock.h"
#include "tests/support/client_state_fixture.h"

namespace fedtune::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class NightlyClientStateTest : public ClientStateTest {
 protected:
  NightlyClientStateTest() : ClientStateTest(*Hours::Parse("20:00-06:00")) {}
};

TEST_F(NightlyClientStateTest, WaitsForItsHours) {
  Accept();
  EXPECT_THAT(Assigned(Round(0)),
              ElementsAre("waiting run-1cd1 0.1: waiting for its hours (20:00-06:00), 8 h"));
  EXPECT_EQ(client_.wake_at(), now_.monotonic + absl::Hours(8));
  EXPECT_THAT(AfterTime(absl::Hours(1)), IsEmpty()) << "it has been told";
  EXPECT_THAT(AfterTime(absl::Hours(7)), ElementsAre("train run-1cd1 0.1"));
}

TEST_F(NightlyClientStateTest, TellsAgainWhyItWaitsAfterAReconnect) {
  Accept();
  Assigned(Round(0));
  EXPECT_THAT(Assigned(Round(0)), ElementsAre(HasSubstr("waiting for its hours")));
}

TEST_F(NightlyClientStateTest, StandsStillOutsideItsHours) {
  Pass(absl::Hours(17));
  Accept();
  EXPECT_THAT(Assigned(Round(0)), ElementsAre("train run-1cd1 0.1"));
  EXPECT_EQ(client_.wake_at(), now_.monotonic + absl::Hours(1)) << "they end at six";
  EXPECT_THAT(AfterTime(absl::Hours(1)),
              ElementsAre("pause", HasSubstr("waiting for its hours (20:00-06:00), 14 h")));
  EXPECT_THAT(At(Round(0), 0.5), IsEmpty());
  EXPECT_THAT(AfterTime(absl::Hours(14)), ElementsAre("resume", "training run-1cd1 0.1: 0.5"));
}

TEST_F(NightlyClientStateTest, GoesByTheTimeOfDayAsItIsNow) {
  Accept();
  Assigned(Round(0));
  now_.time_of_day += absl::Hours(9);
  EXPECT_THAT(AfterTime(kSecond), ElementsAre("train run-1cd1 0.1"));
}

TEST_F(NightlyClientStateTest, StopsWorkThatStandsStill) {
  Pass(absl::Hours(17));
  Accept();
  Assigned(Round(0));
  AfterTime(absl::Hours(1));
  EXPECT_THAT(Closed(Round(0)), ElementsAre("stop"));
  EXPECT_THAT(AfterTime(absl::Hours(14)), IsEmpty()) << "nothing is to be resumed";
}

TEST_F(NightlyClientStateTest, SubmitsOutsideItsHours) {
  Pass(absl::Hours(17));
  Accept();
  Assigned(Round(0));
  Pass(absl::Hours(1));
  EXPECT_THAT(TrainedWith(Round(0), absl::OkStatus()), ElementsAre("submit run-1cd1 0.1"));
}

}  // namespace
}  // namespace fedtune::testing
