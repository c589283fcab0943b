// SPDX-License-Identifier: Apache-2.0

#include "cli/client_log.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kText[] =
    "2026-11-27T20:00:00.000Z info run accepted run=run-7f3a records=100\n"
    "2026-11-27T20:00:01.000Z info round assigned run=run-7f3a round=1 attempt=1 "
    "adapter=0123456789ab time_left=\"2 h\"\n"
    "Nov 27 20:10 st-anna fedtune-client[77]: 2026-11-27T20:10:01.000Z info round assigned "
    "run=run-7f3a round=2 attempt=1 adapter=abcdefabcdef time_left=\"2 h\"\r\n"
    "2026-11-27T20:11:01.000Z info round assigned run=run-52c0 round=2 attempt=1 "
    "adapter=999999999999 time_left=\"2 h\"\n"
    "2026-11-27T20:12:01.000Z info round assigned run=run-7f3a round=x attempt=1 adapter=\n"
    "2026-11-27T20:12:01.000Z info round assigned";

TEST(RoundsInLogTest, AreThoseOfTheRun) {
  const auto rounds = RoundsInLog(kText, "run-7f3a");
  EXPECT_THAT(rounds, ElementsAre(Field(&LoggedRound::number, 1), Field(&LoggedRound::number, 2)));
  EXPECT_EQ(rounds.at(1).adapter, "abcdefabcdef");
}

TEST(RoundsInLogTest, AreReadFromJsonToo) {
  const auto rounds = RoundsInLog(
      R"({"time":"t","level":"info","event":"round assigned","run":"run-7f3a","round":"3",)"
      R"("attempt":"1","adapter":"abcdefabcdef","time_left":"2 h"})"
      "\n"
      R"({"event":"round closed","run":"run-7f3a","round":"3","reason":"round assigned"})"
      "\n{broken, round assigned}\n"
      R"({"event":["round assigned"],"run":"run-7f3a","round":"4","adapter":"abcdefabcdef"})"
      "\n"
      R"({"event":"round assigned","run":"run-7f3a","round":"4x","adapter":"abcdefabcdef"})",
      "run-7f3a");
  EXPECT_THAT(rounds, ElementsAre(Field(&LoggedRound::number, 3)));
}

class CompareWithLogTest : public ::testing::Test {
 protected:
  CompareWithLogTest() {
    for (int64_t round = 1; round <= 3; ++round) {
      run_.rounds.push_back({.number = round, .adapter = After(round), .burnt = ""});
    }
  }

  static Digest After(int64_t round) { return Sha256Of("adapter " + std::to_string(round)); }
  static LoggedRound Began(int64_t round, const Digest& adapter) {
    return {.number = round, .adapter = adapter.ToHex().substr(0, 12)};
  }

  RecordedRun run_;
};

TEST_F(CompareWithLogTest, RoundsBeginWithWhatTheOneBeforeHasMade) {
  const LogComparison same =
      CompareWithLog(run_, {Began(1, After(0)), Began(2, After(1)), Began(2, After(1)),
                            Began(4, After(3)), Began(5, After(4))});
  EXPECT_THAT(same.contradictions, IsEmpty());
  EXPECT_EQ(same.compared, 2);
}

TEST_F(CompareWithLogTest, ACoordinatorThatTellsTwoStoriesIsCaught) {
  const LogComparison other = CompareWithLog(run_, {Began(2, After(1)), Began(3, After(7))});
  EXPECT_THAT(other.contradictions, ElementsAre(HasSubstr("round 3 began with adapter ")));
  EXPECT_EQ(other.compared, 1);
}

}  // namespace
}  // namespace fedtune
