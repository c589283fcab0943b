// SPDX-License-Identifier: Apache-2.0

// Compares with what Hugging Face's libraries made of the same texts.

#include <random>
#include <sstream>

#include "base/files.h"
#include "base/json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/utf8.h"
#include "tests/support/compressed_file.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::IsOk;
using testing::ReadCompressed;

const std::filesystem::path kDeepSeekV3 = "../shared/data/tokenizers/deepseek-v3-tokenizer";
const std::filesystem::path kDemoTokenizer = "examples/base_model/icd-moe/tokenizer.json";
const std::filesystem::path kDemoGoldens = "tests/interop/golden/demo_tokenizer.jsonl";
const std::filesystem::path kPipelines = "model/tokenizer/testdata/pipelines.jsonl";

std::vector<nlohmann::json> ReadLines(const std::filesystem::path& path) {
  const auto content = ReadFile(path);
  EXPECT_THAT(content, IsOk());
  std::vector<nlohmann::json> lines;
  std::istringstream stream(content.ok() ? *content : "");
  for (std::string line; std::getline(stream, line);) {
    const auto value = ParseJson(line, path.string());
    EXPECT_THAT(value, IsOk());
    if (value.ok()) lines.push_back(*value);
  }
  return lines;
}

// A line has "text" and "ids", and "decoded" and "decoded_plain" (without
// special tokens) where these are not the text again. A heading has none.
void ExpectGolden(const Tokenizer& tokenizer, const nlohmann::json& line) {
  if (!line.contains("text")) return;
  const auto text = line["text"].get<std::string>();
  const auto ids = tokenizer.Encode(text);
  ASSERT_THAT(ids, IsOk());
  EXPECT_EQ(*ids, line["ids"].get<std::vector<int32_t>>()) << text;
  EXPECT_EQ(tokenizer.Decode(*ids, /*skip_special=*/false), line.value("decoded", text));
  EXPECT_EQ(tokenizer.Decode(*ids, /*skip_special=*/true), line.value("decoded_plain", text));
}

void ExpectPipeline(nlohmann::json file, const nlohmann::json& model, const nlohmann::json& line) {
  SCOPED_TRACE(line["name"]);
  file["model"] = model;
  file["model"]["ignore_merges"] = line["ignore_merges"];
  const auto tokenizer = Tokenizer::FromJson(file.dump(), "pipeline");
  ASSERT_THAT(tokenizer, IsOk()) << tokenizer.status();
  for (const nlohmann::json& one : line["cases"]) {
    const auto text = one[0].get<std::string>();
    const auto ids = tokenizer->Encode(text);
    ASSERT_THAT(ids, IsOk());
    EXPECT_EQ(*ids, one[1].get<std::vector<int32_t>>()) << text;
    if (one.size() < 4) continue;
    EXPECT_EQ(tokenizer->Decode(*ids, /*skip_special=*/false), one[2]) << text;
    EXPECT_EQ(tokenizer->Decode(*ids, /*skip_special=*/true), one[3]) << text;
  }
}

TEST(TokenizerGoldenTest, AgreesOnEveryKindOfPipeline) {
  const std::vector<nlohmann::json> lines = ReadLines(kPipelines);
  ASSERT_GT(lines.size(), 40u);
  for (size_t i = 1; i < lines.size(); ++i) {
    ExpectPipeline(lines[i]["rest"], lines[0]["model"], lines[i]);
  }
}

TEST(TokenizerGoldenTest, AgreesOnTheDemosTokenizer) {
  if (!std::filesystem::exists(kDemoGoldens)) GTEST_SKIP() << kDemoGoldens << " is absent";
  const auto tokenizer = Tokenizer::Load(kDemoTokenizer);
  ASSERT_THAT(tokenizer, IsOk()) << tokenizer.status();
  const std::vector<nlohmann::json> lines = ReadLines(kDemoGoldens);
  ASSERT_GT(lines.size(), 100u);
  for (const nlohmann::json& line : lines) ExpectGolden(*tokenizer, line);
}

class DeepSeekV3Test : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kDeepSeekV3)) GTEST_SKIP() << kDeepSeekV3 << " is absent";
    auto loaded = Tokenizer::FromJson(ReadCompressed(kDeepSeekV3 / "tokenizer.json.gz"), "V3");
    ASSERT_THAT(loaded, IsOk()) << loaded.status();
    tokenizer_.emplace(*std::move(loaded));
  }

  std::optional<Tokenizer> tokenizer_;
};

TEST_F(DeepSeekV3Test, AgreesOnAllTexts) {
  const std::vector<nlohmann::json> lines = ReadLines(kDeepSeekV3 / "golden.jsonl");
  ASSERT_EQ(lines.size(), 349u);
  for (const nlohmann::json& line : lines) ExpectGolden(*tokenizer_, line);
}

TEST_F(DeepSeekV3Test, KnowsTheMarksOfAChat) {
  EXPECT_EQ(tokenizer_->TokenId("<\uFF5CUser\uFF5C>"), 128803);
  EXPECT_EQ(tokenizer_->TokenId("<\uFF5Cbegin\u2581of\u2581sentence\uFF5C>"), 0);
  EXPECT_EQ(tokenizer_->vocabulary_size(), 128815);
  EXPECT_THAT(*tokenizer_->Encode("<\uFF5CUser\uFF5C>Hi"), ::testing::ElementsAre(128803, 23166));
}

TEST_F(DeepSeekV3Test, DecodesWhatItEncoded) {
  std::mt19937 random(3);
  for (int trial = 0; trial < 500; ++trial) {
    std::string text;
    for (size_t i = random() % 60; i > 0; --i) {
      const uint32_t code_point = random() % (random() % 3 == 0 ? 0x3000 : 0x100);
      text += EncodeUtf8(code_point);
    }
    const auto ids = tokenizer_->Encode(text);
    ASSERT_THAT(ids, IsOk());
    ASSERT_EQ(tokenizer_->Decode(*ids, /*skip_special=*/false), text);
  }
}

TEST_F(DeepSeekV3Test, EncodesAMebibyteOfOneLetter) {
  const auto ids = tokenizer_->Encode(std::string(size_t{1} << 20, 'a'));
  ASSERT_THAT(ids, IsOk());
  EXPECT_EQ(tokenizer_->Decode(*ids, /*skip_special=*/false).size(), size_t{1} << 20);
}

}  // namespace
}  // namespace fedtune
