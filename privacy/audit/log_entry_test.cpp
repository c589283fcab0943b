// SPDX-License-Identifier: Apache-2.0

#include "privacy/audit/log_entry.h"

#include <string>
#include <variant>
#include <vector>

#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

const absl::Time kWhen = absl::FromUnixMillis(1773480413589);

// One of each kind, with what a reason may be: there and not there.
std::vector<LogEvent> AllEvents() {
  return {LogBegun{.id = "9f86d081884c7d65"},
          RunStarted{.run = "run-7f3a",
                     .plan = Sha256Of("plan"),
                     .layout = Sha256Of("layout"),
                     .base_digest = Sha256Of("base").ToString(),
                     .adapter = Sha256Of("adapter"),
                     .started_by = "lena"},
          RoundOpened{.run = "run-7f3a", .round = 2, .attempt = 3, .adapter = Sha256Of("adapter")},
          ContributionCounted{.run = "run-7f3a",
                              .round = 2,
                              .institution = "st-anna",
                              .contribution = Sha256Of("contribution")},
          RoundReleased{.run = "run-7f3a",
                        .round = 2,
                        .attempt = 3,
                        .contributions = 4,
                        .adapter = Sha256Of("next"),
                        .burnt = ""},
          RoundReleased{.run = "run-7f3a",
                        .round = 3,
                        .adapter = Sha256Of("next"),
                        .burnt = "the sum is not finite"},
          PauseAsked{.run = "run-7f3a", .reason = "Umbau am Samstag, \"früh\""},
          PauseAsked{.run = "run-7f3a", .reason = ""},
          RunResumed{.run = "run-7f3a"},
          StopAsked{.run = "run-7f3a", .reason = "enough"},
          RunClosed{.run = "run-7f3a", .state = "finished", .reason = ""},
          RunClosed{.run = "run-7f3a", .state = "failed", .reason = "no quorum"},
          RunReopened{.run = "run-7f3a"}};
}

TEST(LogEntryTest, IsReadAsItWasWritten) {
  for (const LogEvent& event : AllEvents()) {
    const LogEntry entry = {.at = kWhen, .event = event};
    const absl::StatusOr<LogEntry> read = ParseLogEntry(WriteLogEntry(entry));
    ASSERT_THAT(read, IsOk()) << read.status();
    EXPECT_EQ(*read, entry);
  }
}

TEST(LogEntryTest, ItsBytesAreTheseForEver) {
  const std::string base = Sha256Of("base").ToString();
  const std::string start = R"({"at":"2026-03-14T09:26:53.589Z","event":)";
  const std::vector<std::string> lines = {
      R"("log begun","id":"9f86d081884c7d65"})",
      R"("run started","run":"run-7f3a","plan":")" + Sha256Of("plan").ToString() +
          R"(","layout":")" + Sha256Of("layout").ToString() + R"(","base_digest":")" + base +
          R"(","adapter":")" + Sha256Of("adapter").ToString() + R"(","started_by":"lena"})",
      R"("round opened","run":"run-7f3a","round":3,"attempt":3,"adapter":")" +
          Sha256Of("adapter").ToString() + R"("})",
      R"("contribution counted","run":"run-7f3a","round":3,"institution":"st-anna",)"
      R"("contribution":")" +
          Sha256Of("contribution").ToString() + R"("})",
      R"("round released","run":"run-7f3a","round":3,"attempt":3,"contributions":4,"adapter":")" +
          Sha256Of("next").ToString() + R"("})",
      R"("round released","run":"run-7f3a","round":4,"attempt":1,"contributions":0,"adapter":")" +
          Sha256Of("next").ToString() + R"(","burnt":"the sum is not finite"})",
      R"("pause asked","run":"run-7f3a","reason":"Umbau am Samstag, \"früh\""})",
      R"("pause asked","run":"run-7f3a"})",
      R"("run resumed","run":"run-7f3a"})",
      R"("stop asked","run":"run-7f3a","reason":"enough"})",
      R"("run ended","run":"run-7f3a","state":"finished"})",
      R"("run ended","run":"run-7f3a","state":"failed","reason":"no quorum"})",
      R"("run reopened","run":"run-7f3a"})"};
  const std::vector<LogEvent> events = AllEvents();
  ASSERT_EQ(events.size(), lines.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(WriteLogEntry({.at = kWhen, .event = events[i]}), start + lines[i]);
  }
}

TEST(LogEntryTest, CanMoveNoCursorAndBreakNoLine) {
  const LogEntry hostile = {
      .at = kWhen,
      .event = StopAsked{.run = "run-7f3a", .reason = "\x1b[2Jgone\nat: \u202enever\xff"}};
  const std::string bytes = WriteLogEntry(hostile);
  EXPECT_EQ(bytes, R"({"at":"2026-03-14T09:26:53.589Z","event":"stop asked","run":"run-7f3a",)"
                   R"("reason":"\\x1b[2Jgone\\nat: \\u202enever\\xff"})");
  const absl::StatusOr<LogEntry> read = ParseLogEntry(bytes);
  ASSERT_THAT(read, IsOk()) << read.status();
  EXPECT_EQ(WriteLogEntry(*read), bytes);
}

TEST(LogEntryTest, LongTextsAreCutAndStillRead) {
  const std::string quotes(2 * kLongestLogText, '"');  // Twice as long in JSON.
  const std::string bytes = WriteLogEntry({.at = kWhen,
                                           .event = RunStarted{.run = quotes,
                                                               .plan = {},
                                                               .layout = {},
                                                               .base_digest = quotes,
                                                               .adapter = {},
                                                               .started_by = quotes}});
  EXPECT_LT(bytes.size(), kLongestLogEntry);
  const absl::StatusOr<LogEntry> read = ParseLogEntry(bytes);
  ASSERT_THAT(read, IsOk()) << read.status();
  EXPECT_EQ(RunOf(read->event), quotes.substr(0, kLongestLogText));
}

TEST(LogEntryTest, TimesAreCutToMilliseconds) {
  const LogEntry entry = {.at = kWhen + absl::Microseconds(999), .event = LogBegun{.id = "1"}};
  EXPECT_EQ(ParseLogEntry(WriteLogEntry(entry))->at, kWhen);
}

// One entry, and what is said of it where it differs in one thing.
class LogEntryFormTest : public ::testing::Test {
 protected:
  static std::string Refusal(const std::string& bytes) {
    const absl::Status status = ParseLogEntry(bytes).status();
    EXPECT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument)) << bytes;
    return std::string(Message(status));
  }

  // The entry of a round that was opened, with `to` in the place of `from`.
  static std::string With(const std::string& from, const std::string& to) {
    std::string bytes = WriteLogEntry(
        {.at = kWhen,
         .event = RoundOpened{
             .run = "run-7f3a", .round = 2, .attempt = 1, .adapter = Sha256Of("adapter")}});
    const size_t at = bytes.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return bytes.replace(at, from.size(), to);
  }
};

TEST_F(LogEntryFormTest, IsAJsonObject) {
  EXPECT_THAT(Refusal(""), HasSubstr("not JSON"));
  EXPECT_THAT(Refusal("[]"), HasSubstr("JSON object"));
  EXPECT_THAT(Refusal("null"), HasSubstr("JSON object"));
  EXPECT_THAT(Refusal(With("}", "")), HasSubstr("not JSON"));
  EXPECT_THAT(Refusal(With("}", "}{}")), HasSubstr("not JSON"));
  EXPECT_THAT(Refusal(With("run-7f3a", "run-\xff")), HasSubstr("not JSON"));
  EXPECT_THAT(Refusal(std::string(kLongestLogEntry + 1, ' ')), HasSubstr("none has more"));
}

TEST_F(LogEntryFormTest, HasEveryKeyAndNoOther) {
  EXPECT_THAT(Refusal("{}"), HasSubstr("no \"at\""));
  EXPECT_THAT(Refusal(With("\"event\"", "\"events\"")), HasSubstr("no \"event\""));
  EXPECT_THAT(Refusal(With("\"run\"", "\"runs\"")), HasSubstr("no \"run\""));
  EXPECT_THAT(Refusal(With("\"round\":3,", "")), HasSubstr("no \"round\""));
  EXPECT_THAT(Refusal(With("\"attempt\":1,", "")), HasSubstr("no \"attempt\""));
  EXPECT_THAT(Refusal(With("\"adapter\"", "\"Adapter\"")), HasSubstr("no \"adapter\""));
  EXPECT_THAT(Refusal(With("}", ",\"more\":1}")), HasSubstr("not in the form"));
  EXPECT_THAT(Refusal(With("\"round\":3", "\"round\":3,\"round\":3")), HasSubstr("duplicate"));
}

TEST_F(LogEntryFormTest, HasOneSpelling) {
  EXPECT_THAT(Refusal(With("\"round\":3,\"attempt\":1", "\"attempt\":1,\"round\":3")),
              HasSubstr("not in the form"));
  EXPECT_THAT(Refusal(With("\"round\":3", "\"round\": 3")), HasSubstr("not in the form"));
  EXPECT_THAT(Refusal(With("}", "}\n")), HasSubstr("not in the form"));
  EXPECT_THAT(Refusal(With("run-7f3a", "run\\u002d7f3a")), HasSubstr("not in the form"));
  EXPECT_THAT(Refusal(With("run-7f3a", "run\\n7f3a")), HasSubstr("not in the form"));
  EXPECT_THAT(Refusal(With("run-7f3a",
                           "\u202e"
                           "a3f7-nur")),
              HasSubstr("not in the form"));
  EXPECT_THAT(Refusal(With("sha256:", "")), HasSubstr("not in the form"));
}

TEST_F(LogEntryFormTest, HasATimeInOneSpelling) {
  const std::string at = "2026-03-14T09:26:53.589Z";
  for (const char* other :
       {"", "2026-03-14T09:26:53Z", "2026-03-14T09:26:53.5890Z", "2026-03-14T09:26:53.58Z0",
        "2026-03-14 09:26:53.589Z", "2026-02-29T09:26:53.589Z", "2026-03-14T24:26:53.589Z",
        "2026-03-14T09:26:60.589Z", "2026-03-14T09:26:53,589Z", "2026-3-14T09:26:53.5890Z",
        "infinite-future", "+026-03-14T09:26:53.589Z", "2026-03-14T09:26:53.589z"}) {
    EXPECT_THAT(Refusal(With(at, other)), HasSubstr("\"at\" of the log entry")) << other;
  }
  EXPECT_THAT(Refusal(With("\"" + at + "\"", "1773480413589")), HasSubstr("\"at\""));
}

TEST_F(LogEntryFormTest, HasNumbersWithinBounds) {
  for (const char* round : {"0", "-1", "3.0", "3e0", "\"3\"", "null", "9007199254740992",
                            "9223372036854775808", "18446744073709551616"}) {
    EXPECT_THAT(Refusal(With("\"round\":3", std::string("\"round\":") + round)),
                HasSubstr("\"round\" of the log entry is no whole number from 1"))
        << round;
  }
  EXPECT_THAT(Refusal(With("\"attempt\":1", "\"attempt\":0")), HasSubstr("\"attempt\""));
  const absl::StatusOr<LogEntry> last =
      ParseLogEntry(With("\"round\":3", "\"round\":9007199254740991"));
  ASSERT_THAT(last, IsOk()) << last.status();
  EXPECT_EQ(std::get<RoundOpened>(last->event).round, 9007199254740990);
}

TEST_F(LogEntryFormTest, HasDigestsAndTextsAndEnds) {
  EXPECT_THAT(Refusal(With("sha256:", "sha512:")), HasSubstr("\"adapter\" of the log entry"));
  EXPECT_THAT(Refusal(With("\"run-7f3a\"", "7")), HasSubstr("\"run\" of the log entry"));
  EXPECT_THAT(Refusal(R"({"at":"2026-03-14T09:26:53.589Z","event":"run ended","run":"run-7f3a",)"
                      R"("state":"tired"})"),
              HasSubstr("\"state\" of the log entry"));
  EXPECT_THAT(Refusal(R"({"at":"2026-03-14T09:26:53.589Z","event":"pause asked","run":"run-7f3a",)"
                      R"("reason":""})"),
              HasSubstr("not in the form"));
}

TEST_F(LogEntryFormTest, TellsOfANewerCoordinatorsEvents) {
  const absl::StatusOr<LogEntry> read = ParseLogEntry(With("round opened", "moon\u202e seen"));
  EXPECT_THAT(read, HasCode(absl::StatusCode::kUnimplemented));
  EXPECT_THAT(Message(read.status()), HasSubstr("moon\\u202e seen"));
}

TEST(LogEventTest, SaysOfWhatRunItIs) {
  for (const LogEvent& event : AllEvents()) {
    EXPECT_EQ(RunOf(event), std::holds_alternative<LogBegun>(event) ? "" : "run-7f3a");
  }
}

TEST(LogEventTest, IsToldToPeople) {
  const std::string adapter = Sha256Of("adapter").ToString();
  const std::string next = Sha256Of("next").ToString();
  std::vector<std::string> told;
  for (const LogEvent& event : AllEvents()) told.push_back(Describe(event));
  EXPECT_THAT(
      told,
      ElementsAre("log 9f86d081884c7d65 begun",
                  "run-7f3a started by lena, plan " + Sha256Of("plan").ToString() + ", layout " +
                      Sha256Of("layout").ToString() + ", base model " +
                      Sha256Of("base").ToString() + ", from " + adapter,
                  "round 3 of run-7f3a opened, attempt 3, from " + adapter,
                  "contribution " + Sha256Of("contribution").ToString() +
                      " of st-anna counted in round 3 of run-7f3a",
                  "round 3 of run-7f3a released, attempt 3, 4 contributions: " + next,
                  "round 4 of run-7f3a burnt, attempt 1, 0 contributions, the adapter stays " +
                      next + ": the sum is not finite",
                  "pause of run-7f3a asked: Umbau am Samstag, \"früh\"", "pause of run-7f3a asked",
                  "run-7f3a resumed", "stop of run-7f3a asked: enough", "run-7f3a finished",
                  "run-7f3a failed: no quorum", "run-7f3a reopened"));
}

TEST(LogEventTest, CountsOneContributionAsOne) {
  const RoundReleased release = {
      .run = "run-7f3a", .round = 0, .attempt = 1, .contributions = 1, .adapter = {}, .burnt = ""};
  EXPECT_THAT(Describe(release), HasSubstr("attempt 1, 1 contribution: sha256:"));
}

}  // namespace
}  // namespace fedtune
