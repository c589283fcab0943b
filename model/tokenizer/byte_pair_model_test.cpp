// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/byte_pair_model.h"

#include <string>

#include "base/json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/tokenizer/small_tokenizer_file.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

nlohmann::json SmallModel() { return testing::SmallTokenizerFile()["model"]; }

std::vector<int32_t> Encode(const nlohmann::json& section, std::string_view word) {
  const auto model = BytePairModel::FromJson(section, "model");
  EXPECT_THAT(model, IsOk());
  std::vector<int32_t> ids;
  if (model.ok()) model->Encode(word, ids);
  return ids;
}

void ExpectRefused(const nlohmann::json& section, std::string_view reason) {
  const auto model = BytePairModel::FromJson(section, "model");
  EXPECT_THAT(model, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(model.status().message()), HasSubstr(std::string(reason)));
}

TEST(BytePairModelTest, MergesByRank) {
  EXPECT_THAT(Encode(SmallModel(), "abcab a"), ElementsAre(257, 256, 258));
}

TEST(BytePairModelTest, GivesBytesWhereNoMergeApplies) {
  EXPECT_THAT(Encode(SmallModel(), "\xC3\xA4"), ElementsAre(0xC3, 0xA4));
}

TEST(BytePairModelTest, ReadsMergesWrittenAsPairs) {
  nlohmann::json section = SmallModel();
  section["merges"] = ParseJson(R"([["a", "b"], ["ab", "c"]])", "test").value();
  EXPECT_THAT(Encode(section, "abc"), ElementsAre(257));
}

TEST(BytePairModelTest, SkipsTheHeadingOfAListOfMerges) {
  nlohmann::json section = SmallModel();
  section["merges"] = {"#version: 0.2", "a b"};
  EXPECT_THAT(Encode(section, "abc"), ElementsAre(256, 'c'));
}

TEST(BytePairModelTest, KeepsWordsThatNoMergeReachesApart) {
  nlohmann::json section = SmallModel();
  section["vocab"]["bca"] = 259;
  EXPECT_THAT(Encode(section, "bca"), ElementsAre('b', 'c', 'a'));
}

TEST(BytePairModelTest, TakesWholeWordsWhenMergesAreToBeIgnored) {
  nlohmann::json section = SmallModel();
  section["vocab"]["bca"] = 259;
  section["ignore_merges"] = true;
  EXPECT_THAT(Encode(section, "bca"), ElementsAre(259));
  EXPECT_THAT(Encode(section, "bcab"), ElementsAre('b', 'c', 256));
}

TEST(BytePairModelTest, KnowsTheBytesOfEachToken) {
  nlohmann::json section = SmallModel();
  section["vocab"]["<\uFF5C>"] = 260;
  const auto model = BytePairModel::FromJson(section, "model");
  ASSERT_THAT(model, IsOk());
  EXPECT_EQ(model->Bytes(258), " a");
  EXPECT_EQ(model->Bytes(260), "<\uFF5C>");
  EXPECT_EQ(model->Bytes(259), std::nullopt);
  EXPECT_EQ(model->Bytes(261), std::nullopt);
  EXPECT_EQ(model->Bytes(-1), std::nullopt);
}

TEST(BytePairModelTest, DoesNotMindAnUnknownTokenThatIsNeverNeeded) {
  nlohmann::json section = SmallModel();
  section["unk_token"] = "<unk>";
  section["byte_fallback"] = true;
  section["dropout"] = 0.0;
  section["end_of_word_suffix"] = "";
  EXPECT_THAT(Encode(section, "abc"), ElementsAre(257));
}

TEST(BytePairModelTest, RefusesAVocabularyWithoutAByteThatTextCanHave) {
  nlohmann::json section = SmallModel();
  section["vocab"].erase("\u0120");
  ExpectRefused(section, "model.vocab: has no token \"\u0120\" for the byte 0x20");
}

TEST(BytePairModelTest, LeavesOutRareBytesWithoutATokenAsHuggingFaceDoes) {
  nlohmann::json section = SmallModel();
  section["vocab"].erase("\u0104");  // Byte 4.
  EXPECT_THAT(Encode(section,
                     "ab\x04"
                     "c"),
              ElementsAre(257));
  section["unk_token"] = "<unk>";
  ExpectRefused(section, "model.vocab: has no token \"\u0104\" for the byte 0x04");
}

TEST(BytePairModelTest, DoesNotNeedBytesThatNoTextHas) {
  nlohmann::json section = SmallModel();
  section["vocab"].erase("\u00FF");
  EXPECT_THAT(Encode(section, "abc"), ElementsAre(257));
}

TEST(BytePairModelTest, RefusesAnotherKindOfModel) {
  nlohmann::json section = SmallModel();
  section["type"] = "Unigram";
  ExpectRefused(section, "model: type \"Unigram\" is not supported; only BPE is");
}

TEST(BytePairModelTest, RefusesDropout) {
  nlohmann::json section = SmallModel();
  section["dropout"] = 0.1;
  ExpectRefused(section, "dropout is not supported");
}

TEST(BytePairModelTest, RefusesAffixes) {
  nlohmann::json section = SmallModel();
  section["continuing_subword_prefix"] = "##";
  ExpectRefused(section, "continuing_subword_prefix is not supported");
  section = SmallModel();
  section["end_of_word_suffix"] = "</w>";
  ExpectRefused(section, "end_of_word_suffix is not supported");
}

TEST(BytePairModelTest, RefusesAMergeOfUnknownTokens) {
  nlohmann::json section = SmallModel();
  section["merges"] = {"a b", "xx b"};
  ExpectRefused(section, "model.merges[1]: token \"xx\" is not in the vocabulary");
}

TEST(BytePairModelTest, RefusesAMergeIntoAnUnknownToken) {
  nlohmann::json section = SmallModel();
  section["merges"] = {"x y"};
  ExpectRefused(section, "model.merges[0]: token \"xy\" is not in the vocabulary");
}

TEST(BytePairModelTest, RefusesAMergeThatIsNotTwoTokens) {
  for (const nlohmann::json& merge :
       {nlohmann::json("ab"), nlohmann::json("a b c"), nlohmann::json(7),
        nlohmann::json::array({"a", "b", "c"}), nlohmann::json::array({"a", 1})}) {
    nlohmann::json section = SmallModel();
    section["merges"] = nlohmann::json::array({merge});
    ExpectRefused(section, "model.merges[0]: must be two tokens");
  }
}

TEST(BytePairModelTest, RefusesTwoTokensWithOneId) {
  nlohmann::json section = SmallModel();
  section["vocab"]["abc"] = 256;
  ExpectRefused(section, "have the same id 256");
}

TEST(BytePairModelTest, RefusesIdsOutOfRange) {
  nlohmann::json section = SmallModel();
  section["vocab"]["abc"] = -1;
  ExpectRefused(section, "token \"abc\" has id -1; ids lie between 0 and 1048575");
  section["vocab"]["abc"] = kMaxTokenIds;
  ExpectRefused(section, "token \"abc\" has id 1048576");
}

TEST(BytePairModelTest, RefusesIdsThatAreNoNumbers) {
  nlohmann::json section = SmallModel();
  section["vocab"]["abc"] = "257";
  ExpectRefused(section, "model.vocab: the id of \"abc\" must be a whole number");
}

TEST(BytePairModelTest, RefusesAModelWithoutVocabularyOrMerges) {
  nlohmann::json section = SmallModel();
  section.erase("vocab");
  ExpectRefused(section, "model: \"vocab\" is missing");
  section = SmallModel();
  section["merges"] = "a b";
  ExpectRefused(section, "model: \"merges\" must be a list");
  ExpectRefused(nlohmann::json::array(), "model: must be an object");
}

}  // namespace
}  // namespace fedtune
