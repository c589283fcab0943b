// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/tokenizer.h"

#include <chrono>
#include <random>
#include <thread>

#include "base/files.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/tokenizer/small_tokenizer_file.h"
#include "model/tokenizer/utf8.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::AddedTokenEntry;
using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using ::testing::Not;
using testing::SmallTokenizerFile;

Tokenizer Small(const nlohmann::json& file = SmallTokenizerFile()) {
  absl::StatusOr<Tokenizer> tokenizer = Tokenizer::FromJson(file.dump(), "tokenizer.json");
  EXPECT_THAT(tokenizer, IsOk());
  return *std::move(tokenizer);
}

Tokenizer SmallWithMarks() {
  nlohmann::json file = SmallTokenizerFile();
  file["added_tokens"] = {AddedTokenEntry(259, "<end>"), AddedTokenEntry(260, "<user>")};
  file["added_tokens"][0]["special"] = true;
  return Small(file);
}

void ExpectRefused(const nlohmann::json& file, std::string_view reason) {
  const auto tokenizer = Tokenizer::FromJson(file.dump(), "tokenizer.json");
  EXPECT_THAT(tokenizer, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(tokenizer.status().message()), HasSubstr(std::string(reason)));
}

std::string RandomText(std::mt19937& random) {
  std::string text;
  const size_t length = random() % 40;
  for (size_t i = 0; i < length; ++i) {
    constexpr uint32_t kEnds[] = {0x80, 0x80, 0x80, 0x800, 0x3100, 0x110000};
    const uint32_t code_point = random() % kEnds[random() % 6];
    if (code_point < 0xD800 || code_point > 0xDFFF) text += EncodeUtf8(code_point);
  }
  return text;
}

TEST(TokenizerTest, SaysWhereEachTokenEnds) {
  const auto encoded = SmallWithMarks().EncodeWithEnds("abc<user> \u00E9a");
  ASSERT_THAT(encoded, IsOk());
  EXPECT_THAT(encoded->ids, ElementsAre(257, 260, ' ', 0xC3, 0xA9, 'a'));
  EXPECT_THAT(encoded->ends, ElementsAre(3, 9, 10, 11, 12, 13));
}

TEST(TokenizerTest, EncodesWordByWord) {
  EXPECT_THAT(*Small().Encode("abc abc"), ElementsAre(257, ' ', 257));
  EXPECT_THAT(*Small().Encode(""), ElementsAre());
}

TEST(TokenizerTest, RecognisesAddedTokensInText) {
  EXPECT_THAT(*SmallWithMarks().Encode("<user>abc<end>"), ElementsAre(260, 257, 259));
}

TEST(TokenizerTest, DecodesWithOrWithoutSpecialTokens) {
  const std::vector<int32_t> ids{260, 257, 258, 259};
  EXPECT_EQ(SmallWithMarks().Decode(ids, /*skip_special=*/false), "<user>abc a<end>");
  EXPECT_EQ(SmallWithMarks().Decode(ids, /*skip_special=*/true), "<user>abc a");
}

TEST(TokenizerTest, DecodesNothingForIdsThatAreNoTokens) {
  const std::vector<int32_t> ids{-1, 'a', 280, 1'000'000};
  EXPECT_EQ(SmallWithMarks().Decode(ids, /*skip_special=*/false), "a");
}

TEST(TokenizerTest, DecodesPartsOfCharactersToTheReplacementCharacter) {
  const std::vector<int32_t> ids{'a', 0xE4, 0xB8};
  EXPECT_EQ(Small().Decode(ids, /*skip_special=*/false), "a\uFFFD");
}

TEST(TokenizerTest, DecodesWhatItEncoded) {
  const Tokenizer tokenizer = SmallWithMarks();
  std::mt19937 random(7);
  for (int trial = 0; trial < 2000; ++trial) {
    const std::string text = RandomText(random);
    const auto ids = tokenizer.Encode(text);
    ASSERT_THAT(ids, IsOk());
    ASSERT_EQ(tokenizer.Decode(*ids, /*skip_special=*/false), text);
  }
}

TEST(TokenizerTest, KnowsTokensByName) {
  const Tokenizer tokenizer = SmallWithMarks();
  EXPECT_EQ(tokenizer.TokenId("<user>"), 260);
  EXPECT_EQ(tokenizer.TokenId("\u0120a"), 258);
  EXPECT_EQ(tokenizer.TokenId("nothing"), std::nullopt);
  EXPECT_EQ(tokenizer.vocabulary_size(), 261);
  EXPECT_EQ(Small().vocabulary_size(), 259);
}

TEST(TokenizerTest, IsReadFromAFile) {
  const testing::TemporaryDirectory directory;
  const auto path = directory.path() / "tokenizer.json";
  EXPECT_THAT(Tokenizer::Load(path), HasCode(absl::StatusCode::kNotFound));
  ASSERT_THAT(WriteFileAtomically(path, SmallTokenizerFile().dump()), IsOk());
  EXPECT_THAT(Tokenizer::Load(path), IsOk());
}

TEST(TokenizerTest, SaysHowATokenizerInAnotherFormBecomesOneThatIsRead) {
  const testing::TemporaryDirectory directory;
  const auto said = [&] {
    const auto tokenizer = Tokenizer::Load(directory.path() / "tokenizer.json");
    EXPECT_THAT(tokenizer, HasCode(absl::StatusCode::kNotFound));
    return std::string(Message(tokenizer.status()));
  };
  EXPECT_THAT(said(), Not(HasSubstr("transformers")));
  ASSERT_THAT(WriteFileAtomically(directory.path() / "tokenizer.model", ""), IsOk());
  EXPECT_THAT(said(), AllOf(HasSubstr("tokenizer.json"),
                            HasSubstr("is in tokenizer.model: "
                                      "AutoTokenizer.from_pretrained("),
                            HasSubstr("writes tokenizer.json")));
  ASSERT_THAT(WriteFileAtomically(directory.path() / "tiktoken.model", ""), IsOk());
  EXPECT_THAT(said(), AllOf(HasSubstr("tokenizer.json"), HasSubstr("is in tiktoken.model: save "
                                                                   "what transformers' "
                                                                   "TikTokenConverter makes")));
}

TEST(TokenizerTest, StaysUsableAfterAMove) {
  Tokenizer first = SmallWithMarks();
  const Tokenizer second = std::move(first);
  EXPECT_THAT(*second.Encode("<user> abc"), ElementsAre(260, ' ', 257));
}

void ExpectOften(const Tokenizer& tokenizer, const std::vector<int32_t>& expected) {
  for (int i = 0; i < 200; ++i) EXPECT_EQ(*tokenizer.Encode("abc <user> ab 12 !"), expected);
}

TEST(TokenizerTest, EncodesInSeveralThreadsAtOnce) {
  const Tokenizer tokenizer = SmallWithMarks();
  const auto expected = *tokenizer.Encode("abc <user> ab 12 !");
  std::thread first([&] { ExpectOften(tokenizer, expected); });
  std::thread second([&] { ExpectOften(tokenizer, expected); });
  first.join();
  second.join();
}

// A quadratic merge would take hours for these.
TEST(TokenizerTest, EncodesAMebibyteOfOneLetterQuickly) {
  nlohmann::json file = SmallTokenizerFile();
  file["model"]["vocab"]["aa"] = 259;
  file["model"]["vocab"]["aaaa"] = 260;
  file["model"]["merges"] = {"a a", "aa aa"};
  const auto started = std::chrono::steady_clock::now();
  const auto ids = Small(file).Encode(std::string(size_t{1} << 20, 'a'));
  const auto took = std::chrono::steady_clock::now() - started;
  ASSERT_THAT(ids, IsOk());
  EXPECT_EQ(*ids, std::vector<int32_t>(size_t{1} << 18, 260));
  EXPECT_LT(took, std::chrono::seconds(60));
}

TEST(TokenizerTest, EncodesAMebibyteOfSpacesQuickly) {
  const auto ids = Small().Encode(std::string(size_t{1} << 20, ' ') + "x");
  ASSERT_THAT(ids, IsOk());
  EXPECT_EQ(ids->size(), (size_t{1} << 20) + 1);
}

TEST(TokenizerTest, SaysWhenAnExpressionTakesTooLong) {
  nlohmann::json file = SmallTokenizerFile();
  file["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"}, {"pattern", {{"Regex", "(a|a)*[^a]"}}}, {"behavior", "Isolated"}},
        {{"type", "ByteLevel"}, {"add_prefix_space", false}}}}};
  EXPECT_THAT(Small(file).Encode(std::string(64, 'a')),
              HasCode(absl::StatusCode::kResourceExhausted));
}

TEST(TokenizerTest, RefusesTextThatIsNotUtf8) {
  const auto ids = Small().Encode("abc\xFF");
  EXPECT_THAT(ids, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(ids.status().message(), "text is not UTF-8 (at byte 3)");
}

TEST(TokenizerTest, RefusesWhatIsNotJson) {
  const auto tokenizer = Tokenizer::FromJson("{", "tokenizer.json");
  EXPECT_THAT(tokenizer, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(tokenizer.status().message(), "tokenizer.json: not JSON (at byte 2)");
  EXPECT_THAT(Tokenizer::FromJson("[]", "tokenizer.json"),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(TokenizerTest, RefusesANormalizerThatChangesText) {
  nlohmann::json file = SmallTokenizerFile();
  file["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}};
  ExpectRefused(file, "tokenizer.json: normalizer.normalizers[0]: type \"NFC\" is not supported");
}

TEST(TokenizerTest, AcceptsANormalizerWithoutSteps) {
  nlohmann::json file = SmallTokenizerFile();
  file["normalizer"] = {{"type", "Sequence"}, {"normalizers", nlohmann::json::array()}};
  EXPECT_THAT(*Small(file).Encode("abc"), ElementsAre(257));
}

TEST(TokenizerTest, RefusesAPostProcessorItDoesNotKnow) {
  nlohmann::json file = SmallTokenizerFile();
  file["post_processor"] = {{"type", "BertProcessing"}};
  ExpectRefused(file, "post_processor: type \"BertProcessing\" is not supported");
}

TEST(TokenizerTest, LeavesMarksToTheCaller) {
  nlohmann::json file = SmallTokenizerFile();
  file["post_processor"] = testing::BeginMarkProcessor(256, "ab");
  const Tokenizer tokenizer = Small(file);
  EXPECT_THAT(*tokenizer.Encode("abc"), ElementsAre(257));
  EXPECT_THAT(tokenizer.tokens_before_text(), ElementsAre(256));
}

TEST(TokenizerTest, RefusesATokenizerOfSentencePiecesKindAsSuch) {
  constexpr std::string_view kReason =
      "tokenizer.json: is a tokenizer of SentencePiece's kind, as Llama 2 has";
  nlohmann::json file = SmallTokenizerFile();
  file["model"]["byte_fallback"] = true;
  file["normalizer"] = {{"type", "Prepend"}, {"prepend", "\u2581"}};
  file["pre_tokenizer"] = nullptr;
  file["decoder"] = {{"type", "Sequence"}, {"decoders", nlohmann::json::array()}};
  ExpectRefused(file, kReason);
  file = SmallTokenizerFile();
  file["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "\u2581"}};
  ExpectRefused(file, kReason);
}

TEST(TokenizerTest, RefusesAnotherDecoder) {
  nlohmann::json file = SmallTokenizerFile();
  file["decoder"]["type"] = "Metaspace";
  ExpectRefused(file, "decoder: type \"Metaspace\" is not supported; only ByteLevel is");
  file["decoder"] = nullptr;
  ExpectRefused(file, "tokenizer.json: \"decoder\" is missing");
}

TEST(TokenizerTest, RefusesAnotherVersion) {
  nlohmann::json file = SmallTokenizerFile();
  file["version"] = "2.0";
  ExpectRefused(file, "tokenizer.json: version \"2.0\" is not supported");
}

TEST(TokenizerTest, RefusesAFileWithoutASectionItNeeds) {
  for (const std::string section : {"pre_tokenizer", "model", "decoder"}) {
    nlohmann::json file = SmallTokenizerFile();
    file.erase(section);
    ExpectRefused(file, fmt::format("tokenizer.json: \"{}\" is missing", section));
  }
}

TEST(TokenizerTest, NamesThePlaceOfAProblemInASection) {
  nlohmann::json file = SmallTokenizerFile();
  file["model"]["merges"].push_back("q q");
  ExpectRefused(file, "tokenizer.json: model.merges[3]: token \"qq\" is not in the vocabulary");
  file = SmallTokenizerFile();
  file["added_tokens"] = nlohmann::json::array({AddedTokenEntry(256, "x")});
  ExpectRefused(file, "tokenizer.json: added_tokens[0]: token \"x\" has id 256");
  file["added_tokens"] = nlohmann::json::array({AddedTokenEntry(300, "<user>")});
  ExpectRefused(file, "tokenizer.json: added_tokens[0]: token \"<user>\" has id 300");
}

}  // namespace
}  // namespace fedtune
