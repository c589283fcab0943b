// SPDX-License-Identifier: Apache-2.0

// Plays every tests/scenarios/*.txt and compares what is printed with what the
// file says. Run from the repository's root; with --rewrite the files take over
// what was printed, to be read before they are committed.

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/scenarios/run_stage.h"
#include "tests/scenarios/script.h"
#include "tests/support/status_matchers.h"

namespace fedtune::testing {
namespace {

constexpr std::string_view kFolder = "tests/scenarios";

std::vector<std::string> Play(RunStage& stage, const Block& block) {
  std::vector<std::string> printed;
  for (const std::string& line : block.input) {
    const std::vector<std::string> more = stage.Play(ParseCommand(line));
    printed.insert(printed.end(), more.begin(), more.end());
  }
  if (printed.empty()) printed.push_back("nothing");
  return printed;
}

class Scenario : public ::testing::Test {
 public:
  Scenario(std::filesystem::path path, bool rewrite) : path_(std::move(path)), rewrite_(rewrite) {}

  void TestBody() override {
    const auto text = ReadFile(path_);
    ASSERT_THAT(text, IsOk());
    std::vector<Block> blocks = ParseScript(*text);
    ASSERT_FALSE(blocks.empty());
    RunStage stage;
    for (Block& block : blocks) {
      std::vector<std::string> printed = Play(stage, block);
      if (!rewrite_) {
        EXPECT_THAT(printed, ::testing::ElementsAreArray(block.expected))
            << "after: " << block.input.back();
      }
      block.expected = std::move(printed);
    }
    if (rewrite_) {
      ASSERT_THAT(WriteFileAtomically(path_, ToText(blocks)), IsOk());
    }
  }

 private:
  const std::filesystem::path path_;
  const bool rewrite_;
};

std::vector<std::filesystem::path> ScenarioFiles() {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder, error)) {
    if (entry.path().extension() == ".txt" && entry.path().filename() != "CMakeLists.txt") {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

TEST(ScriptTest, WritesWhatItReads) {
  constexpr std::string_view kText =
      "# One.\nplan rounds=1\n\nstart\n----\nnothing\n\nstop\n----\nend\n";
  const std::vector<Block> blocks = ParseScript(kText);
  ASSERT_EQ(blocks.size(), 2u);
  EXPECT_EQ(blocks[0].input.size(), 4u);
  EXPECT_EQ(ToText(blocks), kText);
}

TEST(ScriptTest, SaysWhichCommandItDoesNotKnow) {
  RunStage stage;
  EXPECT_THAT(stage.Play(ParseCommand("dance")),
              ::testing::ElementsAre("no run has started: dance"));
}

}  // namespace

void RegisterScenarios(bool rewrite) {
  for (const std::filesystem::path& file : ScenarioFiles()) {
    ::testing::RegisterTest("Scenario", file.stem().c_str(), nullptr, nullptr, __FILE__, __LINE__,
                            [=]() -> Scenario* { return new Scenario(file, rewrite); });
  }
}

}  // namespace fedtune::testing

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  const bool rewrite = argc > 1 && std::string_view(argv[1]) == "--rewrite";
  fedtune::testing::RegisterScenarios(rewrite);
  return RUN_ALL_TESTS();
}
