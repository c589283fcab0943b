// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/named_tokens.h"

#include "base/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/tokenizer/small_tokenizer_file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

// A tokenizer with the added token "<user>".
class NamedTokensTest : public ::testing::Test {
 protected:
  static Tokenizer MakeTokenizer() {
    nlohmann::json file = testing::SmallTokenizerFile();
    file["added_tokens"] = nlohmann::json::array({testing::AddedTokenEntry(259, "<user>")});
    return *Tokenizer::FromJson(file.dump(), "tokenizer.json");
  }

  absl::Status CheckWith(std::string_view file, std::string_view content) {
    const testing::TemporaryDirectory folder;
    EXPECT_THAT(WriteFileAtomically(folder.path() / file, content), IsOk());
    return CheckNamedTokens(folder.path(), tokenizer_);
  }

  void ExpectRefused(std::string_view file, std::string_view content, std::string_view reason) {
    const absl::Status status = CheckWith(file, content);
    EXPECT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(std::string(status.message()), HasSubstr(std::string(reason)));
  }

  const Tokenizer tokenizer_ = MakeTokenizer();
};

TEST_F(NamedTokensTest, MayBeThoseOfTheTokenizer) {
  EXPECT_THAT(CheckNamedTokens("/nowhere", tokenizer_), IsOk());
  EXPECT_THAT(CheckWith("tokenizer_config.json",
                        R"({"added_tokens_decoder": {"259": {"content": "<user>"}},
                            "additional_special_tokens": ["<user>"],
                            "extra_special_tokens": {"user_token": "<user>"}})"),
              IsOk());
  EXPECT_THAT(CheckWith("special_tokens_map.json", R"({"additional_special_tokens": ["<user>"]})"),
              IsOk());
  EXPECT_THAT(CheckWith("added_tokens.json", R"({"<user>": 259})"), IsOk());
}

TEST_F(NamedTokensTest, MayNameAMarkForPaddingThatNothingUses) {
  EXPECT_THAT(CheckWith("tokenizer_config.json", R"({"pad_token": "[PAD]"})"), IsOk());
}

TEST_F(NamedTokensTest, AreRefusedWhereTheTokenizerDoesNotAddThem) {
  constexpr char kConfig[] = "tokenizer_config.json";
  ExpectRefused(
      kConfig, R"({"added_tokens_decoder": {"301": {"content": "<new>"}}})",
      "tokenizer_config.json: added_tokens_decoder has the token \"<new>\", which is not");
  ExpectRefused(kConfig, R"({"additional_special_tokens": [{"content": "<new>"}]})",
                "additional_special_tokens has the token \"<new>\"");
  ExpectRefused(kConfig, R"({"extra_special_tokens": {"image_token": "<new>"}})",
                "extra_special_tokens has the token \"<new>\"");
  ExpectRefused("special_tokens_map.json", R"({"additional_special_tokens": ["<new>"]})",
                "special_tokens_map.json: additional_special_tokens has the token \"<new>\"");
  ExpectRefused("added_tokens.json", R"({"<new>": 301})",
                "added_tokens.json has the token \"<new>\"");
}

TEST_F(NamedTokensTest, AreNotLookedForInOlderFilesBesideADecoder) {
  const testing::TemporaryDirectory folder;
  const auto write = [&](const char* file, std::string_view content) {
    ASSERT_THAT(WriteFileAtomically(folder.path() / file, content), IsOk());
  };
  write("added_tokens.json", R"({"<new>": 301})");
  write("special_tokens_map.json", R"({"additional_special_tokens": ["<new>"], "eos_token": "$"})");
  EXPECT_FALSE(CheckNamedTokens(folder.path(), tokenizer_).ok());
  const auto config = nlohmann::json::parse(R"({"added_tokens_decoder": {}})");
  write("tokenizer_config.json", config.dump());
  EXPECT_THAT(CheckNamedTokens(folder.path(), tokenizer_), IsOk());
  EXPECT_EQ(*ReadSpecialTokensMap(folder.path(), config), nlohmann::json::object());
  EXPECT_EQ((*ReadSpecialTokensMap(folder.path(), nlohmann::json::object()))["eos_token"], "$");
}

TEST_F(NamedTokensTest, AreRefusedWhereTheTokenizerSplitsThem) {
  ExpectRefused("added_tokens.json", R"({"ab": 256})", "has the token \"ab\", which is not among");
}

TEST_F(NamedTokensTest, AreRefusedWhereADecoderSaysSomethingElseAboutTheirSurroundings) {
  for (const std::string flag : {"lstrip", "rstrip", "single_word"}) {
    ExpectRefused(
        "tokenizer_config.json",
        fmt::format(R"({{"added_tokens_decoder": {{"259": {{"content": "<user>", "{}": true}}}}}})",
                    flag),
        fmt::format("added_tokens_decoder has another \"{}\" for the token \"<user>\"", flag));
  }
}

TEST_F(NamedTokensTest, AreRefusedWhereTextsAreToHaveThemSplit) {
  ExpectRefused("tokenizer_config.json", R"({"split_special_tokens": true})",
                "tokenizer_config.json: split_special_tokens is true, which is not supported");
}

TEST_F(NamedTokensTest, AreRefusedWithoutAName) {
  ExpectRefused("tokenizer_config.json", R"({"additional_special_tokens": [3]})",
                "additional_special_tokens has a token without a name");
  ExpectRefused("added_tokens.json", "[]", "added_tokens.json: must be an object");
}

}  // namespace
}  // namespace fedtune
