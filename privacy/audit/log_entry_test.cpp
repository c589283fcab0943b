// SPDX-License-Identifier: Apache-2.0

#include "privacy/audit/log_entry.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
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

TEST(LogEntryTest, IsOneLineForPeople) {
  EXPECT_EQ(WriteLogEntry(
                {.at = kWhen,
                 .event = RoundOpened{.run = "run-7f3a", .round = 2, .attempt = 3, .adapter = {}}}),
            R"({"at":"2026-03-14T09:26:53.589Z","event":"round opened","run":"run-7f3a",)"
            R"("round":3,"attempt":3,"adapter":)"
            R"("sha256:0000000000000000000000000000000000000000000000000000000000000000"})");
}

}  // namespace
}  // namespace fedtune
