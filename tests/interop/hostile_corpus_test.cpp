// SPDX-License-Identifier: Apache-2.0

// Compares with what Hugging Face's tokenizers made of hostile texts.

#include <filesystem>
#include <string>

#include "base/files.h"
#include "base/json.h"
#include "gtest/gtest.h"
#include "tests/interop/hostile_digests.h"
#include "tests/support/compressed_file.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::IsOk;
using testing::ReadCompressed;

void ExpectDigests(const std::filesystem::path& tokenizer, const std::string& golden) {
  const auto stored =
      ParseJson(ReadCompressed(std::filesystem::path("tests/interop/golden") / golden), golden);
  ASSERT_THAT(stored, IsOk());
  const auto ours = HostileDigests(ReadCompressed(tokenizer), tokenizer.string());
  ASSERT_THAT(ours, IsOk()) << ours.status();
  const nlohmann::json& theirs = stored->at("groups");
  ASSERT_GT(theirs.size(), 70u);
  EXPECT_EQ(ours->size(), theirs.size());
  for (const auto& [name, digest] : theirs.items())
    EXPECT_EQ(ours->value(name, nlohmann::json()), digest) << name;
}

TEST(HostileCorpusTest, TheDemosTokenizerGivesTheSame) {
  ExpectDigests("examples/base_model/icd-moe/tokenizer.json", "hostile_demo.json");
}

TEST(HostileCorpusTest, DeepSeekV3GivesTheSame) {
  const std::filesystem::path folder = "../shared/data/tokenizers/deepseek-v3-tokenizer";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is absent";
  ExpectDigests(folder / "tokenizer.json.gz", "hostile_v3.json");
}

}  // namespace
}  // namespace fedtune
