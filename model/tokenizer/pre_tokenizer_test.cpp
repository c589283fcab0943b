// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/pre_tokenizer.h"

#include "base/json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

constexpr std::string_view kPlain =
    R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false})";

nlohmann::json Json(std::string_view text) {
  const auto value = ParseJson(text, "test");
  EXPECT_THAT(value, IsOk());
  return value.ok() ? *value : nlohmann::json();
}

// A pipeline of `step` and a ByteLevel that does nothing.
nlohmann::json With(std::string_view step) {
  return {{"type", "Sequence"}, {"pretokenizers", {Json(step), Json(kPlain)}}};
}

std::vector<std::string> Split(const nlohmann::json& section, std::string_view text) {
  const auto pre_tokenizer = PreTokenizer::FromJson(section, "pre_tokenizer");
  EXPECT_THAT(pre_tokenizer, IsOk());
  if (!pre_tokenizer.ok()) return {};
  Words words;
  EXPECT_THAT(pre_tokenizer->Split(text, words), IsOk());
  return {words.words.begin(), words.words.end()};
}

void ExpectRefused(const nlohmann::json& section, std::string_view reason) {
  const auto pre_tokenizer = PreTokenizer::FromJson(section, "pre_tokenizer");
  EXPECT_THAT(pre_tokenizer, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(pre_tokenizer.status().message()), HasSubstr(std::string(reason)));
}

TEST(PreTokenizerTest, LeavesTextWholeWithoutSteps) {
  EXPECT_THAT(Split(Json(kPlain), "a b"), ElementsAre("a b"));
  EXPECT_THAT(Split(Json(kPlain), ""), ElementsAre());
}

TEST(PreTokenizerTest, SplitsAsGpt2WhenByteLevelIsToldTo) {
  const auto section = Json(R"({"type": "ByteLevel", "add_prefix_space": false})");
  EXPECT_THAT(Split(section, "I'll go  now 12!"),
              ElementsAre("I", "'ll", " go", " ", " now", " 12", "!"));
}

TEST(PreTokenizerTest, PutsASpaceBeforeEachPieceThatHasNone) {
  const nlohmann::json section = {
      {"type", "Sequence"},
      {"pretokenizers",
       {Json(R"({"type": "Split", "pattern": {"String": "-"}, "behavior": "Removed"})"),
        Json(R"({"type": "ByteLevel", "add_prefix_space": true, "use_regex": false})")}}};
  EXPECT_THAT(Split(section, "a- b-c"), ElementsAre(" a", " b", " c"));
}

TEST(PreTokenizerTest, AppliesStepsInTheirOrder) {
  const nlohmann::json section = {
      {"type", "Sequence"},
      {"pretokenizers",
       {Json(R"({"type": "Split", "pattern": {"Regex": "[a-c]+"}, "behavior": "Isolated"})"),
        With(R"({"type": "Digits", "individual_digits": true})")}}};
  EXPECT_THAT(Split(section, "xab12c"), ElementsAre("x", "ab", "1", "2", "c"));
}

TEST(PreTokenizerTest, KeepsDigitsTogetherUnlessToldOtherwise) {
  EXPECT_THAT(Split(With(R"({"type": "Digits", "individual_digits": false})"), "a12\u0663b"),
              ElementsAre("a", "12\u0663", "b"));
}

TEST(PreTokenizerTest, InvertsAPattern) {
  EXPECT_THAT(Split(With(R"({"type": "Split", "pattern": {"Regex": "[a-z]+"},
                             "behavior": "Removed", "invert": true})"),
                    "ab 12 cd"),
              ElementsAre("ab", "cd"));
}

TEST(PreTokenizerTest, RefusesAStepItDoesNotKnow) {
  ExpectRefused(With(R"({"type": "Metaspace"})"),
                "pre_tokenizer.pretokenizers[0]: step \"Metaspace\" is not supported");
}

TEST(PreTokenizerTest, RefusesAPipelineWithoutByteLevel) {
  ExpectRefused(Json(R"({"type": "Digits", "individual_digits": true})"),
                "pre_tokenizer: has no step ByteLevel");
}

TEST(PreTokenizerTest, RefusesAStepAfterByteLevel) {
  ExpectRefused({{"type", "Sequence"}, {"pretokenizers", {Json(kPlain), Json(kPlain)}}},
                "pre_tokenizer.pretokenizers[1]: step \"ByteLevel\" after ByteLevel");
}

TEST(PreTokenizerTest, RefusesABehaviourItDoesNotKnow) {
  ExpectRefused(With(R"({"type": "Split", "pattern": {"String": "a"}, "behavior": "Doubled"})"),
                "behavior \"Doubled\" is not one of Removed");
}

TEST(PreTokenizerTest, RefusesABrokenExpression) {
  ExpectRefused(With(R"({"type": "Split", "pattern": {"Regex": "["}, "behavior": "Isolated"})"),
                "pre_tokenizer.pretokenizers[0].pattern: not a regular expression");
}

TEST(PreTokenizerTest, RefusesAnEmptyPattern) {
  ExpectRefused(With(R"({"type": "Split", "pattern": {"String": ""}, "behavior": "Isolated"})"),
                "\"String\" is empty");
  ExpectRefused(With(R"({"type": "Split", "pattern": {}, "behavior": "Isolated"})"),
                "\"String\" is missing");
}

TEST(PreTokenizerTest, RefusesFieldsOfTheWrongType) {
  ExpectRefused(With(R"({"type": "Split", "pattern": "a", "behavior": "Isolated"})"),
                "\"pattern\" must be an object");
  ExpectRefused(With(R"({"type": 3})"), "\"type\" must be text");
  ExpectRefused(With(R"({"type": "Digits", "individual_digits": 1})"),
                "\"individual_digits\" must be true or false");
  ExpectRefused(Json(R"({"type": "ByteLevel"})"), "\"add_prefix_space\" is missing");
  ExpectRefused(Json(R"({"type": "Sequence"})"), "\"pretokenizers\" is missing");
}

}  // namespace
}  // namespace fedtune
