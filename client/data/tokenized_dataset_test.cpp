// SPDX-License-Identifier: Apache-2.0

#include "client/data/tokenized_dataset.h"

#include "base/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/tokenizer/small_tokenizer_file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;
using testing::IsOk;

class TokenizedDatasetTest : public ::testing::Test {
 protected:
  absl::StatusOr<TokenizedDataset> Load(std::string_view content) {
    const auto path = folder_.path() / "train.jsonl";
    EXPECT_THAT(WriteFileAtomically(path, content), IsOk());
    const RecordTokenizer record_tokenizer(tokenizer_, SpecialTokens(), {.context_length = 20});
    return LoadTokenizedDataset(path, record_tokenizer);
  }

  const testing::TemporaryDirectory folder_;
  const Tokenizer tokenizer_ =
      *Tokenizer::FromJson(testing::SmallTokenizerFile().dump(), "tokenizer.json");
};

TEST_F(TokenizedDatasetTest, TokenizesEveryRecord) {
  const auto dataset = Load(R"({"instruction": "x", "output": "y"}
{"instruction": "v", "output": "w"})");
  ASSERT_THAT(dataset, IsOk());
  ASSERT_EQ(dataset->records.size(), 2u);
  EXPECT_THAT(dataset->records[0].tokens, ElementsAre('x', ':', ' ', 'y'));
  EXPECT_THAT(dataset->records[0].is_target, ElementsAre(0, 0, 1, 1));
  EXPECT_THAT(dataset->records[1].tokens, ElementsAre('v', ':', ' ', 'w'));
}

TEST_F(TokenizedDatasetTest, ItsRecordsTakeNoMoreMemoryThanTheyNeed) {
  const auto dataset = Load(R"({"instruction": "instruct", "output": "an"}
{"instruction": "v", "output": "w"}
{"instruction": "x", "output": "y"})");
  ASSERT_THAT(dataset, IsOk());
  EXPECT_EQ(dataset->records.capacity(), 3u);
  for (const TokenizedRecord& record : dataset->records) {
    EXPECT_EQ(record.tokens.capacity(), record.tokens.size());
    EXPECT_EQ(record.is_target.capacity(), record.is_target.size());
  }
}

TEST_F(TokenizedDatasetTest, RejectsRecordsThatAreTooLong) {
  const auto dataset = Load(R"({"instruction": "x", "output": "y"}
{"instruction": "a long instruction", "output": "y"})");
  ASSERT_THAT(dataset, IsOk());
  EXPECT_EQ(dataset->records.size(), 1u);
  EXPECT_THAT(dataset->report.rejections,
              ElementsAre(Rejection{2, "21 tokens, but the context has 20"}));
}

TEST_F(TokenizedDatasetTest, SaysWhichConversationsArePlainTextForWantOfATemplate) {
  const std::string talk = R"({"messages": [{"role": "user", "content": "a"}, )"
                           R"({"role": "assistant", "content": "b"}]})";
  const auto dataset = Load(talk + "\n" + R"({"instruction": "x", "output": "y"})" + "\n" + talk);
  ASSERT_THAT(dataset, IsOk());
  EXPECT_EQ(Describe(dataset->report, "train.jsonl"),
            "train.jsonl: 3 records; 2 conversations are read as plain text: the model has no chat "
            "template");
}

TEST_F(TokenizedDatasetTest, SaysThatThereIsNoFile) {
  const RecordTokenizer record_tokenizer(tokenizer_, SpecialTokens(), {.context_length = 20});
  EXPECT_THAT(LoadTokenizedDataset(folder_.path() / "none", record_tokenizer),
              HasCode(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace fedtune
