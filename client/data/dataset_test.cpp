// SPDX-License-Identifier: Apache-2.0

#include "client/data/dataset.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/status.h"
#include "client/data/lines.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using ::testing::Not;

constexpr std::string_view kGood = R"({"instruction": "say", "input": "it", "output": "ok"})";

// Why a line is rejected; empty if it is not.
std::string Reason(std::string_view line) {
  const auto record = ParseRecord(line);
  if (record.ok()) return "";
  EXPECT_THAT(record, HasCode(absl::StatusCode::kInvalidArgument));
  return std::string(record.status().message());
}

absl::StatusOr<DatasetReport> Read(std::string_view text) {
  return ReadDatasetText(text, "train.jsonl",
                         [](const DatasetRecord&) { return absl::OkStatus(); });
}

TEST(ParseRecordTest, ReadsAnInstruction) {
  EXPECT_EQ(*ParseRecord(kGood), DatasetRecord(InstructionRecord{"say", "it", "ok"}));
}

TEST(ParseRecordTest, DoesNotNeedAnInput) {
  const DatasetRecord expected = InstructionRecord{"say", "", "ok"};
  EXPECT_EQ(*ParseRecord(R"({"instruction": "say", "output": "ok"})"), expected);
  EXPECT_EQ(*ParseRecord(R"({"instruction": "say", "input": null, "output": "ok"})"), expected);
}

TEST(ParseRecordTest, ReadsAConversation) {
  const auto record = ParseRecord(
      R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]})");
  ASSERT_THAT(record, IsOk());
  EXPECT_EQ(*record, DatasetRecord(ConversationRecord{{{"user", "Hi"}, {"assistant", "Ho"}}}));
}

TEST(ParseRecordTest, ReadsWhoSpeaksAndWhatAToolAnswers) {
  const auto record = ParseRecord(
      R"({"messages": [{"role": "user", "name": "ada", "content": "Hi"},
                       {"role": "tool", "tool_call_id": "call-1", "content": "7"},
                       {"role": "assistant", "name": null, "content": "Ho"}]})");
  ASSERT_THAT(record, IsOk());
  const auto& turns = std::get<ConversationRecord>(*record).turns;
  EXPECT_EQ(turns[0].name, "ada");
  EXPECT_EQ(turns[1].tool_call_id, "call-1");
  EXPECT_EQ(turns[2].name, "");
  EXPECT_EQ(Reason(R"({"messages": [{"role": "user", "name": 7, "content": "Hi"}]})"),
            "messages[0]: \"name\" is not text");
}

TEST(ParseRecordTest, IgnoresOtherKeys) {
  EXPECT_THAT(
      ParseRecord(R"({"site": 3, "messages": null, "instruction": "a", "output": "b", "x": {}})"),
      IsOk());
}

TEST(ParseRecordTest, RejectsWhatIsNotJson) {
  EXPECT_EQ(Reason(R"({"instruction": "a)"), "not JSON (unexpected end of line)");
  EXPECT_EQ(Reason(R"({"instruction": "a" "b"})"), "not JSON (at byte 23)");
  EXPECT_EQ(Reason(R"(["a"])"), "not a JSON object");
  EXPECT_EQ(Reason(std::string(100, '[')), "nested too deeply");
}

TEST(ParseRecordTest, KnowsWhatACloneWithoutGitLfsHasInPlaceOfRecords) {
  EXPECT_EQ(Reason("version https://git-lfs.github.com/spec/v1"),
            "is a pointer of Git LFS, not the file: run git lfs pull");
}

TEST(ParseRecordTest, RejectsWhatIsNotUtf8) {
  EXPECT_EQ(Reason("{\"instruction\": \"\xE4\"}"), "not UTF-8 (at byte 18)");
}

TEST(ParseRecordTest, RejectsMissingFields) {
  EXPECT_EQ(Reason(R"({"output": "b"})"), "no \"instruction\"");
  EXPECT_EQ(Reason(R"({"instruction": "a"})"), "no \"output\"");
  EXPECT_EQ(Reason(R"({"instruction": null, "output": "b"})"), "no \"instruction\"");
}

TEST(ParseRecordTest, RejectsFieldsThatAreNoText) {
  EXPECT_EQ(Reason(R"({"instruction": 1, "output": "b"})"), "\"instruction\" is not text");
  EXPECT_EQ(Reason(R"({"instruction": "a", "input": [], "output": "b"})"), "\"input\" is not text");
  EXPECT_EQ(Reason(R"({"instruction": "a", "output": {}})"), "\"output\" is not text");
}

TEST(ParseRecordTest, RejectsAnEmptyAnswerOrQuestion) {
  EXPECT_EQ(Reason(R"({"instruction": "a", "output": " \n"})"), "\"output\" is empty");
  EXPECT_EQ(Reason(R"({"instruction": "", "input": " ", "output": "b"})"),
            "\"instruction\" and \"input\" are both empty");
}

// A chat template would strip it as any other white space.
TEST(ParseRecordTest, RejectsAnAnswerOfWhiteSpaceThatIsNotAscii) {
  EXPECT_EQ(Reason("{\"instruction\": \"a\", \"output\": \"\u00A0\u3000\"}"),
            "\"output\" is empty");
  EXPECT_EQ(Reason("{\"messages\": [{\"role\": \"user\", \"content\": \"a\"},"
                   "{\"role\": \"assistant\", \"content\": \"\u2028\"}]}"),
            "messages[1]: the answer is empty");
}

TEST(ParseRecordTest, RejectsBrokenConversations) {
  EXPECT_EQ(Reason(R"({"messages": "Hi"})"), "\"messages\" is not a list");
  EXPECT_EQ(Reason(R"({"messages": []})"), "\"messages\" has no turn of the assistant");
  EXPECT_EQ(Reason(R"({"messages": ["Hi"]})"), "messages[0]: not a JSON object");
  EXPECT_EQ(Reason(R"({"messages": [{"role": "user"}]})"), "messages[0]: no \"content\"");
  EXPECT_EQ(Reason(R"({"messages": [{"content": "Hi"}]})"), "messages[0]: no \"role\"");
  EXPECT_EQ(Reason(R"({"messages": [{"role": "doctor", "content": "Hi"}]})"),
            "messages[0]: \"role\" is not system, user, assistant or tool");
  EXPECT_EQ(Reason(R"({"messages": [{"role": "assistant", "content": "Hi"}]})"),
            "\"messages\" begins with an answer");
  EXPECT_EQ(Reason(R"({"messages": [{"role": "user", "content": "a"},
                                    {"role": "assistant", "content": " "}]})"),
            "messages[1]: the answer is empty");
  EXPECT_EQ(
      Reason(R"({"messages": [{"role": "user", "content": "a"},
                        {"role": "assistant", "content": "b", "tool_calls": [{"type": "x"}]}]})"),
      "messages[1]: \"tool_calls\" is not supported: all that is said must be in \"content\"");
  EXPECT_EQ(Reason(R"({"messages": [{"role": "user", "content": "Hi"}]})"),
            "\"messages\" has no turn of the assistant");
}

TEST(ParseRecordTest, RejectsWhatATemplateWouldWriteBesideTheContent) {
  const auto reason = [](std::string_view part) {
    return Reason(fmt::format(R"({{"messages": [{{"role": "user", "content": "a"}},
                                  {{"role": "assistant", "content": "b", {}}}]}})",
                              part));
  };
  EXPECT_EQ(reason(R"("reasoning_content": "It is b.")"),
            "messages[1]: \"reasoning_content\" is not supported: all that is said must be in "
            "\"content\"");
  EXPECT_THAT(reason(R"("function_call": {"name": "f"})"), HasSubstr("\"function_call\" is not"));
  for (const char* empty :
       {R"("tool_calls": [])", R"("function_call": null)", R"("reasoning_content": "")"}) {
    EXPECT_EQ(reason(empty), "");
  }
}

// A question and two answers, with what is said of their weights.
std::string Weighted(std::string_view question, std::string_view first, std::string_view second) {
  return fmt::format(
      R"({{"messages": [{{"role": "user", "content": "a"{}}},)"
      R"({{"role": "assistant", "content": "b"{}}}, {{"role": "assistant", "content": "c"{}}}]}})",
      question, first, second);
}

TEST(ParseRecordTest, LearnsNoAnswerOfWeightZero) {
  const auto record = ParseRecord(Weighted("", R"(, "weight": 0)", R"(, "weight": 1)"));
  ASSERT_THAT(record, IsOk());
  EXPECT_EQ(*record,
            DatasetRecord(ConversationRecord{
                {{"user", "a"}, {"assistant", "b", /*is_learnt=*/false}, {"assistant", "c"}}}));
}

TEST(ParseRecordTest, RejectsAWeightThatIsNeitherZeroNorOne) {
  for (const char* weight : {"0.5", "2", "-1", "true", "\"0\""}) {
    EXPECT_EQ(Reason(Weighted("", "", fmt::format(R"(, "weight": {})", weight))),
              "messages[2]: \"weight\" is neither 0 nor 1");
  }
}

TEST(ParseRecordTest, RejectsTheWeightOfAQuestionThatIsToBeLearnt) {
  EXPECT_EQ(Reason(Weighted(R"(, "weight": 1)", "", "")),
            "messages[0]: \"weight\" is 1, but only answers are learnt");
  EXPECT_EQ(Reason(Weighted(R"(, "weight": 0)", "", "")), "");
}

TEST(ParseRecordTest, RejectsAConversationOfWhichNothingIsLearnt) {
  EXPECT_EQ(Reason(Weighted("", R"(, "weight": 0)", R"(, "weight": 0.0)")),
            "every answer has \"weight\" 0");
}

TEST(DatasetTest, CountsTheAnswersThatAreNotLearnt) {
  const std::string line = Weighted("", R"(, "weight": 0)", "");
  const auto report = Read(fmt::format("{}\n{}\n", line, line));
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(Describe(*report, "train.jsonl"),
            "train.jsonl: 2 records; 2 answers of weight 0 are not learnt");
}

TEST(ParseRecordTest, QuotesNothingOfTheLine) {
  EXPECT_EQ(Reason(R"({"Mrs Smith": 1, "Mrs Smith": 2})"), "a key comes twice");
  EXPECT_EQ(Reason(R"({"instruction": 1e999})"), "a number is too large");
}

TEST(ReadDatasetTest, HandsOutEveryRecord) {
  std::vector<DatasetRecord> records;
  const auto report =
      ReadDatasetText(fmt::format("{}\r\n\n{}", kGood, R"({"instruction": "a", "output": "b"})"),
                      "train.jsonl", [&](DatasetRecord record) {
                        records.push_back(std::move(record));
                        return absl::OkStatus();
                      });
  ASSERT_THAT(report, IsOk());
  EXPECT_THAT(records,
              ElementsAre(InstructionRecord{"say", "it", "ok"}, InstructionRecord{"a", "", "b"}));
  EXPECT_EQ(report->used, 2);
  EXPECT_EQ(Describe(*report, "train.jsonl"), "train.jsonl: 2 records");
}

TEST(ReadDatasetTest, CountsRejectedLinesWithTheirReason) {
  std::string text;
  for (int i = 1; i <= 12'481; ++i) {
    text += i == 381 ? R"({"instruction": "say", )" : std::string(kGood);
    text += '\n';
  }
  const auto report = Read(text);
  ASSERT_THAT(report, IsOk());
  EXPECT_THAT(report->rejections, ElementsAre(Rejection{381, "not JSON (unexpected end of line)"}));
  EXPECT_EQ(Describe(*report, "train.jsonl"),
            "train.jsonl:381: not JSON (unexpected end of line); 1 of 12,481 records rejected, "
            "12,480 used");
}

TEST(ReadDatasetTest, RejectsWhatTheTakerRejects) {
  int seen = 0;
  const auto report = ReadDatasetText(
      fmt::format("{}\n{}\n", kGood, kGood), "train.jsonl", [&seen](const DatasetRecord&) {
        return ++seen == 1 ? absl::OkStatus() : absl::OutOfRangeError("too long");
      });
  ASSERT_THAT(report, IsOk());
  EXPECT_THAT(report->rejections, ElementsAre(Rejection{2, "too long"}));
}

TEST(ReadDatasetTest, KeepsABoundedNumberOfReasons) {
  std::string text = fmt::format("{}\n", kGood);
  for (int i = 0; i < 10'005; ++i) text += "x\n";
  const auto report = Read(text);
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->rejected, 10'005);
  EXPECT_EQ(report->rejections.size(), DatasetReport::kMaxRejections);
}

TEST(ReadDatasetTest, RejectsALineThatIsTooLong) {
  const auto report =
      Read(fmt::format("{}\n{}\n", kGood, std::string(LineSplitter::kMaxLineBytes + 1, ' ')));
  ASSERT_THAT(report, IsOk());
  EXPECT_THAT(report->rejections, ElementsAre(Rejection{2, "longer than 16.0 MB"}));
}

TEST(ReadDatasetTest, SkipsAByteOrderMark) {
  EXPECT_THAT(Read(fmt::format("\xEF\xBB\xBF{}", kGood)), IsOk());
}

TEST(ReadDatasetTest, NamesTheFormOfAFileThatIsNoText) {
  const std::pair<std::string, std::string_view> files[] = {
      {"\x1F\x8B\x08", "compressed (gzip)"},
      {"\x28\xB5\x2F\xFD", "compressed (Zstandard)"},
      {"PK\x03\x04", "an archive (zip)"},
      {"PAR1\x15", "a Parquet file"},
      {std::string("\xFF\xFE{\0", 4), "in UTF-16"},
      {std::string("{\0\"\0", 4), "binary, with a zero byte at its beginning"}};
  for (const auto& [begin, form] : files) {
    const auto report = Read(fmt::format("{}\n{}\n", begin, kGood));
    ASSERT_THAT(report, HasCode(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(
        std::string(report.status().message()),
        HasSubstr(fmt::format("train.jsonl: {}, not JSON lines in UTF-8: each line", form)));
  }
}

// However large it is: the rest decides nothing.
TEST(ReadDatasetTest, ReadsNoMoreThanTheBeginningOfWhatIsNoDataSet) {
  const testing::TemporaryDirectory directory;
  const std::filesystem::path file = directory.path() / "train.jsonl";
  for (const std::string_view begin : {"\x1F\x8B\x08", "[\n"}) {
    ASSERT_THAT(WriteFileAtomically(file, fmt::format("{}{}", begin, std::string(2'000'000, 'x'))),
                IsOk());
    int blocks = 0;
    EXPECT_THAT(ReadDataset(
                    file, [](const DatasetRecord&) { return absl::OkStatus(); },
                    [&](double, int64_t) { ++blocks; }),
                HasCode(absl::StatusCode::kInvalidArgument));
    EXPECT_EQ(blocks, 1);
  }
}

TEST(ReadDatasetTest, RefusesADeviceWhichMayHaveNoEnd) {
  const auto report =
      ReadDataset("/dev/zero", [](const DatasetRecord&) { return absl::OkStatus(); });
  EXPECT_THAT(report, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(report.status().message()),
              HasSubstr("cannot read /dev/zero: it is a device; a file is needed"));
}

TEST(ReadDatasetTest, RefusesAnEmptyDataSet) {
  for (const std::string_view text : {"", "\n \n"}) {
    const auto report = Read(text);
    EXPECT_THAT(report, HasCode(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(std::string(report.status().message()),
                HasSubstr("train.jsonl: the data set has no records; each line must be a JSON"));
  }
}

TEST(ReadDatasetTest, RefusesADataSetWithoutAUsableRecord) {
  const auto report = Read("\nx\ny\n");
  EXPECT_THAT(report, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(report.status().message()),
              HasSubstr("train.jsonl:2: not JSON (at byte 1); all 2 records were rejected; each "
                        "line must be"));
}

TEST(ReadDatasetTest, SaysNothingOfTheFormOfRecordsOfWhichNoneWasTaken) {
  const auto report = ReadDatasetText(kGood, "train.jsonl", [](const DatasetRecord&) {
    return absl::InvalidArgumentError("607 tokens, but the context has 512");
  });
  EXPECT_THAT(report, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(report.status().message(),
            "train.jsonl:1: 607 tokens, but the context has 512; all 1 records were rejected");
}

TEST(ReadDatasetTest, RefusesAJsonListWithARecordPerLine) {
  int taken = 0;
  const auto report = ReadDatasetText(fmt::format("\n [\n{},\n{},\n{}\n]\n", kGood, kGood, kGood),
                                      "train.json", [&taken](const DatasetRecord&) {
                                        ++taken;
                                        return absl::OkStatus();
                                      });
  EXPECT_THAT(report, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(report.status().message()),
              AllOf(HasSubstr("train.json: a JSON list, not JSON lines: each line must be a JSON"),
                    HasSubstr("jq -c '.[]' train.json writes such lines")));
  EXPECT_EQ(taken, 0);
}

TEST(ReadDatasetTest, RefusesAJsonListInOneLineWhateverItsLength) {
  for (const size_t spaces : {size_t{1}, LineSplitter::kMaxLineBytes}) {
    const auto report = Read(fmt::format("[{}{}]\n", std::string(spaces, ' '), kGood));
    EXPECT_THAT(std::string(report.status().message()), HasSubstr("a JSON list, not JSON lines"));
  }
}

TEST(ReadDatasetTest, RejectsAListAmongRecordsAsAnyOtherLine) {
  const auto report = Read(fmt::format("{}\n[]\n{}\n", kGood, kGood));
  ASSERT_THAT(report, IsOk());
  EXPECT_THAT(report->rejections, ElementsAre(Rejection{2, "not a JSON object"}));
}

TEST(ReadDatasetTest, ReadsAFileLargerThanItsBlocks) {
  const testing::TemporaryDirectory directory;
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += fmt::format("{}\n", kGood);
  ASSERT_THAT(WriteFileAtomically(directory.path() / "train.jsonl", text), IsOk());
  const auto report = ReadDataset(directory.path() / "train.jsonl",
                                  [](const DatasetRecord&) { return absl::OkStatus(); });
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->used, 20'000);
  EXPECT_EQ(report->rejected, 0);
}

TEST(ReadDatasetTest, TellsHowFarItIs) {
  const testing::TemporaryDirectory directory;
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += fmt::format("{}\n", kGood);
  ASSERT_THAT(WriteFileAtomically(directory.path() / "train.jsonl", text), IsOk());
  std::vector<double> fractions;
  std::vector<int64_t> counts;
  ASSERT_THAT(
      ReadDataset(
          directory.path() / "train.jsonl", [](const DatasetRecord&) { return absl::OkStatus(); },
          [&](double fraction, int64_t records) {
            fractions.push_back(fraction);
            counts.push_back(records);
          }),
      IsOk());
  ASSERT_GT(fractions.size(), 2u);
  EXPECT_TRUE(std::is_sorted(fractions.begin(), fractions.end()));
  EXPECT_LT(fractions.front(), 0.5);
  EXPECT_EQ(fractions.back(), 1.0);
  EXPECT_NEAR(static_cast<double>(counts.front()), 20'000 * fractions.front(), 1);
  EXPECT_EQ(counts.back(), 20'000);
}

TEST(ReadDatasetTest, SaysWhenAFileCannotBeRead) {
  const testing::TemporaryDirectory directory;
  const auto take = [](const DatasetRecord&) { return absl::OkStatus(); };
  EXPECT_THAT(ReadDataset(directory.path() / "none", take), HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(ReadDataset(directory.path(), take), Not(IsOk()));
}

TEST(ReadDatasetTest, RefusesANamedPipeWithoutWaitingForWhoWritesIntoIt) {
  const testing::TemporaryDirectory directory;
  const std::filesystem::path pipe = directory.path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::filesystem::create_symlink(pipe, directory.path() / "link");
  const auto take = [](const DatasetRecord&) { return absl::OkStatus(); };
  for (const std::filesystem::path& path : {pipe, directory.path() / "link"}) {
    const absl::Status status = ReadDataset(path, take).status();
    EXPECT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(std::string(Message(status)), HasSubstr("it is a pipe; a file is needed"));
  }
}

// As a shell's <(...) gives it.
TEST(ReadDatasetTest, ReadsAPipeThatThisProcessHasOpen) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const std::string text = fmt::format("{}\n", kGood);
  ASSERT_EQ(::write(ends[1], text.data(), text.size()), std::ssize(text));
  ::close(ends[1]);
  const auto report = ReadDataset(fmt::format("/dev/fd/{}", ends[0]),
                                  [](const DatasetRecord&) { return absl::OkStatus(); });
  ::close(ends[0]);
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->used, 1);
}

}  // namespace
}  // namespace fedtune
