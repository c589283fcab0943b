// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/special_tokens.h"

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

class SpecialTokensTest : public ::testing::Test {
 protected:
  void Write(std::string_view name, std::string_view content) {
    ASSERT_THAT(WriteFileAtomically(folder_.path() / name, content), IsOk());
  }

  SpecialTokens Load() {
    const auto tokens = LoadSpecialTokens(folder_.path(), tokenizer_);
    EXPECT_THAT(tokens, IsOk()) << tokens.status();
    return tokens.ok() ? *tokens : SpecialTokens();
  }

  void ExpectRefused(std::string_view reason) {
    const auto tokens = LoadSpecialTokens(folder_.path(), tokenizer_);
    EXPECT_THAT(tokens, HasCode(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(std::string(tokens.status().message()), HasSubstr(std::string(reason)));
  }

  // A tokenizer that puts `id` before a text.
  void PutBeforeText(int id) {
    nlohmann::json file = testing::SmallTokenizerFile();
    file["post_processor"] = testing::BeginMarkProcessor(id, "mark");
    tokenizer_ = *Tokenizer::FromJson(file.dump(), "tokenizer.json");
  }

  const testing::TemporaryDirectory folder_;
  Tokenizer tokenizer_ =
      *Tokenizer::FromJson(testing::SmallTokenizerFile().dump(), "tokenizer.json");
};

TEST_F(SpecialTokensTest, AreReadByName) {
  Write("tokenizer_config.json", R"({"bos_token": "ab", "eos_token": {"content": "abc"}})");
  EXPECT_EQ(Load().bos, 256);
  EXPECT_EQ(Load().eos, 257);
}

TEST_F(SpecialTokensTest, AreReadByIdWhereThereIsNoName) {
  Write("tokenizer_config.json", R"({"bos_token": "ab"})");
  Write("config.json", R"({"bos_token_id": 1, "eos_token_id": [2, 3]})");
  EXPECT_EQ(Load().bos, 256);
  EXPECT_EQ(Load().eos, 2);
}

TEST_F(SpecialTokensTest, AreThoseOfTheMapBeforeThoseOfTheConfiguration) {
  Write("tokenizer_config.json", R"({"bos_token": "ab", "eos_token": "ab"})");
  Write("special_tokens_map.json", R"({"eos_token": {"content": "abc"}})");
  EXPECT_EQ(Load().bos, 256);
  EXPECT_EQ(Load().eos, 257);
  Write("special_tokens_map.json", R"({"eos_token": "</s>"})");
  ExpectRefused("special_tokens_map.json: eos_token \"</s>\" is not a token");
  Write("tokenizer_config.json", R"({"eos_token": "ab", "added_tokens_decoder": {}})");
  EXPECT_EQ(Load().eos, 256);
}

TEST_F(SpecialTokensTest, AreNotThereWithoutFiles) {
  EXPECT_EQ(Load().bos, std::nullopt);
  EXPECT_EQ(Load().eos, std::nullopt);
}

// Nothing is padded, and Llamas say -1 for "none".
TEST_F(SpecialTokensTest, DoNotMindATokenForPaddingThatIsNone) {
  Write("tokenizer_config.json", R"({"eos_token": "ab", "pad_token": "<pad>"})");
  Write("config.json", R"({"pad_token_id": -1})");
  EXPECT_EQ(Load().eos, 256);
}

TEST_F(SpecialTokensTest, SayWhetherABeginMarkIsWanted) {
  Write("tokenizer_config.json", R"({"bos_token": "ab", "add_bos_token": false})");
  EXPECT_FALSE(Load().add_bos);
  Write("tokenizer_config.json", R"({"bos_token": "ab", "add_bos_token": true})");
  EXPECT_TRUE(Load().add_bos);
}

TEST_F(SpecialTokensTest, WantABeginMarkWhereTheTokenizerPutsOneAndNothingElseIsSaid) {
  Write("tokenizer_config.json", R"({"bos_token": "ab"})");
  EXPECT_FALSE(Load().add_bos);
  PutBeforeText(256);
  EXPECT_TRUE(Load().add_bos);
  EXPECT_EQ(Load().bos, 256);
}

// transformers 5 would put none: see LoadSpecialTokens().
TEST_F(SpecialTokensTest, WantABeginMarkWhereThatIsSaidThoughTheTokenizerPutsNone) {
  Write("tokenizer_config.json", R"({"bos_token": "ab", "add_bos_token": true})");
  ASSERT_THAT(tokenizer_.tokens_before_text(), ::testing::IsEmpty());
  EXPECT_TRUE(Load().add_bos);
  EXPECT_EQ(Load().bos, 256);
}

// transformers 5 would put one.
TEST_F(SpecialTokensTest, WantNoBeginMarkWhereThatIsSaidWhateverTheTokenizerPuts) {
  Write("tokenizer_config.json", R"({"bos_token": "ab", "add_bos_token": false})");
  PutBeforeText(256);
  EXPECT_FALSE(Load().add_bos);
}

TEST_F(SpecialTokensTest, TakeTheTokenizersBeginMarkWhereNothingElseIsSaid) {
  Write("tokenizer_config.json", R"({"bos_token": "ab"})");
  PutBeforeText(257);
  EXPECT_EQ(Load().bos, 257);
}

TEST_F(SpecialTokensTest, RefuseABeginMarkThatIsNoToken) {
  PutBeforeText(259);
  ExpectRefused("tokenizer.json: post_processor puts [259] before a text; one token of the");
}

TEST_F(SpecialTokensTest, RefuseSeveralBeginMarks) {
  nlohmann::json file = testing::SmallTokenizerFile();
  file["post_processor"] = {
      {"type", "Sequence"},
      {"processors",
       {testing::BeginMarkProcessor(256, "mark"), testing::BeginMarkProcessor(257, "other")}}};
  tokenizer_ = *Tokenizer::FromJson(file.dump(), "tokenizer.json");
  ExpectRefused("post_processor puts [257, 256] before a text");
}

TEST_F(SpecialTokensTest, RefuseANameThatIsNoToken) {
  Write("tokenizer_config.json", R"({"eos_token": "</s>"})");
  ExpectRefused("tokenizer_config.json: eos_token \"</s>\" is not a token");
}

TEST_F(SpecialTokensTest, RefuseAnIdThatNoTokenHas) {
  Write("config.json", R"({"eos_token_id": 259})");
  ExpectRefused("config.json: \"eos_token_id\" is 259, but the tokenizer has the ids 0 to 258");
  Write("config.json", R"({"eos_token_id": -1})");
  ExpectRefused("\"eos_token_id\" is -1");
}

TEST_F(SpecialTokensTest, RefuseFieldsOfTheWrongType) {
  Write("tokenizer_config.json", R"({"bos_token": 1})");
  ExpectRefused("\"bos_token\" must be text");
  Write("tokenizer_config.json", R"({"bos_token": {}})");
  ExpectRefused("bos_token: \"content\" is missing");
  Write("tokenizer_config.json", R"({"add_bos_token": 1})");
  ExpectRefused("\"add_bos_token\" must be true or false");
  Write("tokenizer_config.json", "{}");
  Write("config.json", R"({"eos_token_id": "2"})");
  ExpectRefused("\"eos_token_id\" must be a whole number");
}

TEST_F(SpecialTokensTest, RefuseFilesThatAreNoJsonObjects) {
  Write("config.json", "{");
  ExpectRefused("config.json: not JSON");
  Write("config.json", "[]");
  ExpectRefused("config.json: must be an object");
}

}  // namespace
}  // namespace fedtune
