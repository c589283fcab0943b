// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/post_processor.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/tokenizer/small_tokenizer_file.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using nlohmann::json;
using testing::BeginMarkProcessor;
using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;

std::vector<int32_t> Before(const json& section) {
  const auto tokens = TokensBeforeText(section, "post_processor");
  EXPECT_THAT(tokens, IsOk()) << tokens.status();
  return tokens.value_or(std::vector<int32_t>());
}

void ExpectRefused(const json& section, std::string_view reason) {
  const auto tokens = TokensBeforeText(section, "post_processor");
  EXPECT_THAT(tokens, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(tokens.status().message()), HasSubstr(std::string(reason)));
}

TEST(PostProcessorTest, PutsNothingBeforeATextUnlessATemplateSaysSo) {
  EXPECT_THAT(Before(nullptr), IsEmpty());
  EXPECT_THAT(Before({{"type", "ByteLevel"}}), IsEmpty());
  json only_text = BeginMarkProcessor(7, "<s>");
  only_text["single"].erase(0);
  EXPECT_THAT(Before(only_text), IsEmpty());
}

TEST(PostProcessorTest, PutsTheMarksOfATemplateThatComeBeforeTheText) {
  EXPECT_THAT(Before(BeginMarkProcessor(7, "<s>")), ElementsAre(7));
  json around = BeginMarkProcessor(7, "<s>");
  around["single"].push_back(around["single"][0]);
  EXPECT_THAT(Before(around), ElementsAre(7));
  json two_ids = BeginMarkProcessor(7, "<s>");
  two_ids["special_tokens"]["<s>"]["ids"] = {7, 8};
  EXPECT_THAT(Before(two_ids), ElementsAre(7, 8));
}

TEST(PostProcessorTest, AppliesASequenceFromTheInside) {
  EXPECT_THAT(Before({{"type", "Sequence"},
                      {"processors",
                       {{{"type", "ByteLevel"}},
                        BeginMarkProcessor(7, "<s>"),
                        BeginMarkProcessor(8, "<t>")}}}),
              ElementsAre(8, 7));
}

TEST(PostProcessorTest, RefusesAnotherType) {
  ExpectRefused({{"type", "BertProcessing"}},
                "post_processor: type \"BertProcessing\" is not supported");
  ExpectRefused({{"type", "Sequence"}, {"processors", {{{"type", "RobertaProcessing"}}}}},
                "post_processor.processors[0]: type \"RobertaProcessing\"");
}

TEST(PostProcessorTest, RefusesAMarkThatItDoesNotExplain) {
  json file = BeginMarkProcessor(7, "<s>");
  file["special_tokens"] = json::object();
  ExpectRefused(file, "post_processor.special_tokens: \"<s>\" is missing");
}

TEST(PostProcessorTest, RefusesAMarkWhoseIdsAreNoTokens) {
  json file = BeginMarkProcessor(7, "<s>");
  file["special_tokens"]["<s>"]["ids"] = {-1};
  ExpectRefused(file, "post_processor.special_tokens.<s>: \"ids\" must be a list of tokens");
}

TEST(PostProcessorTest, RefusesATemplateOfSomethingElse) {
  json file = BeginMarkProcessor(7, "<s>");
  file["single"][0] = json::object();
  ExpectRefused(file, "post_processor.single[0]: \"SpecialToken\" is missing");
  file["single"] = "$A";
  ExpectRefused(file, "post_processor: \"single\" must be a list");
}

}  // namespace
}  // namespace fedtune
