// SPDX-License-Identifier: Apache-2.0

#include "client/commands/check.h"

#include "base/exit_code.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"

namespace fedtune {
namespace {

std::vector<CheckResult> Results() {
  return {{"certificate", absl::OkStatus(), "until 2026-11-30"},
          {"coordinator", absl::UnavailableError("no answer"), ""},
          {"data set letters", absl::NotFoundError("train.jsonl: no such file"), ""}};
}

TEST(PresentChecksTest, LinesUpForPeople) {
  EXPECT_EQ(PresentChecks(Results(), /*json=*/false),
            "  certificate        ok        until 2026-11-30\n"
            "  coordinator        failed    no answer\n"
            "  data set letters   missing   train.jsonl: no such file\n");
}

TEST(PresentChecksTest, SetsSeveralMistakesBelowEachOther) {
  const std::vector<CheckResult> results = {
      {"policy", absl::InvalidArgumentError("p.toml:1: max_rank is 0\np.toml:2: hours is x"), ""},
      {"signing key", absl::OkStatus(), "ed25519\x1b[2J"}};
  EXPECT_EQ(PresentChecks(results, /*json=*/false),
            "  policy        failed    p.toml:1: max_rank is 0\n"
            "                          p.toml:2: hours is x\n"
            "  signing key   ok        ed25519\\x1b[2J\n");
}

TEST(SumOfTest, EndsAsTheFirstThatHasFailed) {
  EXPECT_EQ(ExitCodeFor(SumOf(Results())), 4);
  EXPECT_EQ(Message(SumOf(Results())), "2 of 3 checks failed");
  EXPECT_TRUE(SumOf({Results().front()}).ok());
}

TEST(SumOfTest, KeepsAnExitCodeThatWasChosen) {
  const absl::Status unreadable =
      WithExitCode(absl::PermissionDeniedError("key.pem: mode 0644"), ExitCode::kUsage);
  EXPECT_EQ(ExitCodeFor(SumOf({{"signing key", unreadable, ""}})), 2);
}

TEST(PresentChecksTest, IsOneObjectForMachines) {
  const auto json = nlohmann::json::parse(PresentChecks(Results(), /*json=*/true));
  ASSERT_EQ(json.at("checks").size(), 3);
  EXPECT_EQ(json["checks"][0]["verdict"], "ok");
  EXPECT_EQ(json["checks"][0]["detail"], "until 2026-11-30");
  EXPECT_EQ(json["checks"][1]["verdict"], "failed");
  EXPECT_EQ(json["checks"][2]["detail"], "train.jsonl: no such file");
}

TEST(PresentChecksTest, SurvivesNamesThatAreNotUtf8) {
  const auto text = PresentChecks({{"data set", absl::NotFoundError("\xff.jsonl"), ""}}, true);
  EXPECT_FALSE(nlohmann::json::parse(text).empty());
}

}  // namespace
}  // namespace fedtune
