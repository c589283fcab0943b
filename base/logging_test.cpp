// SPDX-License-Identifier: Apache-2.0

#include "base/logging.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "nlohmann/json.hpp"

namespace fedtune {
namespace {

using testing::EndsWith;
using testing::internal::CaptureStderr;
using testing::internal::GetCapturedStderr;

std::string Logged(Log::Format format, std::string_view event, const LogField& field) {
  CaptureStderr();
  Log log(format);
  log.Info(event, {field});
  return GetCapturedStderr();
}

TEST(LogTest, AnEventIsOneLineOfKeysAndValues) {
  EXPECT_THAT(Logged(Log::Format::kKeyValue, "round closed", Field("round", 3)),
              EndsWith(" info round closed round=3\n"));
  EXPECT_THAT(Logged(Log::Format::kKeyValue, "declined", Field("why", "rank 16 of \"8\"")),
              EndsWith(" why=\"rank 16 of \\\"8\\\"\"\n"));
}

TEST(LogTest, AnotherPartysTextStaysInItsField) {
  EXPECT_THAT(Logged(Log::Format::kKeyValue, "declined", Field("why", "\x1b[2J\nrun=x")),
              EndsWith(" why=\"\\\\x1b[2J\\\\nrun=x\"\n"));
}

TEST(LogTest, JsonIsOneLineOfAscii) {
  const std::string line =
      Logged(Log::Format::kJson, "declined", Field("why", "\x1b[2J\n\u009b\xff"));
  for (const char c : line.substr(0, line.size() - 1)) {
    EXPECT_TRUE(c >= ' ' && c <= '~') << line;
  }
  EXPECT_EQ(nlohmann::json::parse(line)["why"], "\x1b[2J\n\u009b\ufffd");
}

TEST(LogTest, GivesLinesWithoutTheTimeToASink) {
  std::vector<std::string> lines;
  Log log([&](std::string_view line) { lines.emplace_back(line); });
  log.Info("round closed", {Field("round", 3)});
  log.Warning("disk full");
  EXPECT_EQ(lines, (std::vector<std::string>{"info round closed round=3", "warning disk full"}));
}

}  // namespace
}  // namespace fedtune
