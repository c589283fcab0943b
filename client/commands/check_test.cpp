// SPDX-License-Identifier: Apache-2.0

#include "client/commands/check.h"

#include <optional>
#include <string>

#include "base/directory_lock.h"
#include "base/exit_code.h"
#include "base/logging.h"
#include "base/status.h"
#include "client/commands/remembered_gpu.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

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

// A site with one base model, on a machine with so many GPUs.
class CheckDeviceTest : public ::testing::Test {
 protected:
  CheckDeviceTest() {
    config_.state_dir = directory_.path();
    config_.base_models = {"base/model"};
  }

  ComputeDevice Chosen() {
    return *ChooseDeviceAmong({.count = [this]() -> absl::StatusOr<int> {
                                 if (gpus_ == 0) return absl::NotFoundError("CUDA finds no GPU");
                                 return gpus_;
                               },
                               .describe =
                                   [](int) {
                                     return Gpu{"NVIDIA L4", 24'000'000'000, 23'000'000'000, true};
                                   },
                               .test =
                                   [this](int) {
                                     ++tests_;
                                     return absl::OkStatus();
                                   }},
                              config_.device);
  }

  absl::StatusOr<std::string> Check() {
    return CheckDevice(config_,
                       {.choose_device = [this](std::string_view) { return Chosen(); },
                        .open = [this](const auto&) -> absl::StatusOr<std::unique_ptr<Trainer>> {
                          ++loads_;
                          return nullptr;
                        }});
  }

  const testing::TemporaryDirectory directory_;
  ClientConfig config_;
  int gpus_ = 1;
  int tests_ = 0;
  int loads_ = 0;
};

TEST_F(CheckDeviceTest, LoadsTheBaseModel) {
  EXPECT_THAT(*Check(), ::testing::EndsWith("; base model loaded"));
  EXPECT_EQ(loads_, 1);
}

// Its self-test alone takes memory that the client counts on.
TEST_F(CheckDeviceTest, LeavesTheGpuOfARunningClientAlone) {
  Log log;
  RememberGpu(config_.state_dir, Chosen(), log);
  const auto running = DirectoryLock::Take(config_.state_dir);
  ASSERT_THAT(running, testing::IsOk());
  const int before = tests_;
  EXPECT_EQ(*Check(), "cuda:0, NVIDIA L4; not tested: the client runs, and needs its memory");
  EXPECT_EQ(tests_, before);
  EXPECT_EQ(loads_, 0);
}

TEST_F(CheckDeviceTest, LoadsTheBaseModelBesideAClientThatComputesOnTheCpu) {
  const auto running = DirectoryLock::Take(config_.state_dir);
  ASSERT_THAT(running, testing::IsOk());
  config_.device = "cpu";
  EXPECT_THAT(*Check(), ::testing::EndsWith("; base model loaded"));
}

TEST_F(CheckDeviceTest, FailsWhereTheGpuOfAnEarlierStartIsMissed) {
  Log log;
  RememberGpu(config_.state_dir, Chosen(), log);
  gpus_ = 0;
  const auto checked = Check();
  EXPECT_THAT(checked, testing::HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(std::string(Message(checked.status())),
              ::testing::StartsWith("cuda:0, NVIDIA L4 was here before; no GPU: "));
}

TEST(PresentChecksTest, SurvivesNamesThatAreNotUtf8) {
  const auto text = PresentChecks({{"data set", absl::NotFoundError("\xff.jsonl"), ""}}, true);
  EXPECT_FALSE(nlohmann::json::parse(text).empty());
}

}  // namespace
}  // namespace fedtune
