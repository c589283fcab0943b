// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <cstdio>

#include "base/files.h"
#include "client/commands/records.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::fedtune::testing::FakeClock;
using ::fedtune::testing::IsOk;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::internal::CaptureStderr;
using ::testing::internal::GetCapturedStderr;

constexpr char kModel[] = "examples/base_model/icd-moe";
constexpr int64_t kMany = 200'000;

// A data set of kMany records on the disk, and a clock.
class ManyRecordsTest : public ::testing::Test {
 protected:
  ManyRecordsTest() {
    std::string text;
    for (int64_t i = 0; i < kMany; ++i) {
      text += fmt::format(
          "{{\"instruction\": \"Which code has case {}?\", \"output\": \"I50.1\"}}\n", i);
    }
    EXPECT_THAT(WriteFileAtomically(file_, text), IsOk());
  }

  const testing::TemporaryDirectory folder_;
  const std::filesystem::path file_ = folder_.path() / "train.jsonl";
  FakeClock clock_;
};

TEST_F(ManyRecordsTest, AreLoggedWhileARunIsStudied) {
  Log log;
  // A second goes by for each block.
  const RecordLoader load = LoaderOf(
      {{.name = "cases", .train = file_, .eval = {}}}, [](const auto&, const auto&) {},
      [&](const std::filesystem::path& file) -> ReadingObserver {
        return [this, observe = LogReading(file, clock_, log)](double fraction, int64_t records) {
          clock_.Advance(absl::Seconds(1));
          observe(fraction, records);
        };
      });
  CaptureStderr();
  const auto records = load(kModel, TrainingPlan());
  const std::string logged = GetCapturedStderr();
  ASSERT_THAT(records, IsOk());
  EXPECT_THAT(records->training, SizeIs(kMany));
  EXPECT_EQ(records->training.capacity(), static_cast<size_t>(kMany));
  EXPECT_THAT(logged,
              AllOf(HasSubstr(fmt::format("reading data set file={} done=4%", file_.string())),
                    HasSubstr("done=24% records=48"), HasSubstr("records_per_second=40")));
  EXPECT_EQ(std::count(logged.begin(), logged.end(), '\n'), 5) << "at 2 s, 12 s, ... 42 s of 49";
}

TEST(RecordReaderTest, RejectsRecordsBeyondTheModelsContextOneByOne) {
  const testing::TemporaryDirectory folder;
  std::string words;
  for (int i = 0; i < 600; ++i) words += " a";
  const std::string line = R"({{"instruction": "{}", "output": "b"}})"
                           "\n";
  const std::string text =
      fmt::format(fmt::runtime(line), "a") + fmt::format(fmt::runtime(line), words);
  ASSERT_THAT(WriteFileAtomically(folder.path() / "train.jsonl", text), IsOk());
  TrainingPlan plan;
  plan.sequence_length = 100'000;
  const auto reader = RecordReader::Open(kModel, plan);
  ASSERT_THAT(reader, IsOk());
  std::vector<TokenizedRecord> records;
  const auto report = reader->Read(folder.path() / "train.jsonl", records);
  ASSERT_THAT(report, IsOk());
  EXPECT_THAT(records, SizeIs(1));
  ASSERT_THAT(report->rejections, SizeIs(1));
  EXPECT_EQ(report->rejections[0].line, 2);
  EXPECT_THAT(report->rejections[0].reason, HasSubstr("the context has 512"));
}

TEST(RecordReaderTest, RefusesASequenceLengthThatNoRecordFits) {
  TrainingPlan plan;
  plan.sequence_length = 1;
  const auto reader = RecordReader::Open(kModel, plan);
  ASSERT_FALSE(reader.ok());
  EXPECT_THAT(std::string(reader.status().message()),
              HasSubstr("records need 2 tokens at least; the sequence length is 1"));
}

TEST(RecordReaderTest, NamesTheLineWithATokenBeyondTheModelsVocabulary) {
  const testing::TemporaryDirectory folder;
  for (const char* file : {"tokenizer.json", "tokenizer_config.json", "config.json"}) {
    std::filesystem::copy(std::filesystem::path(kModel) / file, folder.path());
  }
  auto config = nlohmann::json::parse(*ReadFile(folder.path() / "config.json"));
  config["vocab_size"] = 3000;
  const std::filesystem::path data = folder.path() / "train.jsonl";
  ASSERT_THAT(WriteFileAtomically(folder.path() / "config.json", config.dump()), IsOk());
  ASSERT_THAT(WriteFileAtomically(data,
                                  "{\"instruction\": \"a\", \"output\": \"b\"}\n"
                                  "{\"instruction\": \"haemorrhage\", \"output\": \"b\"}\n"),
              IsOk());
  const auto reader = RecordReader::Open(folder.path(), TrainingPlan());
  ASSERT_THAT(reader, IsOk());
  std::vector<TokenizedRecord> records;
  const auto report = reader->Read(data, records);
  ASSERT_THAT(report, IsOk());
  EXPECT_THAT(Describe(*report, "train.jsonl"), HasSubstr("train.jsonl:2: has token 3763"));
}

TEST(ShowOnTest, CountsTheRecordsWhereAPersonWaits) {
  FakeClock clock;
  std::FILE* const stream = std::tmpfile();
  ProgressLine line("reading", clock, stream);
  const ReadingObserver observe = ShowOn(line);
  clock.Advance(absl::Seconds(2));
  observe(0.5, 100'000);
  std::string text(static_cast<size_t>(std::ftell(stream)), '\0');
  std::rewind(stream);
  ASSERT_EQ(std::fread(text.data(), 1, text.size(), stream), text.size());
  std::fclose(stream);
  EXPECT_THAT(text, EndsWith("50 %   100,000 records   2.0 s left\n"));
}

TEST(LogModelReadingTest, SaysWhichAndHowFar) {
  FakeClock clock;
  Log log;
  CaptureStderr();
  const auto observe = LogModelReading("/models/lite", clock, log);
  observe(0.1);
  clock.Advance(absl::Seconds(3));
  observe(0.25);
  EXPECT_THAT(GetCapturedStderr(),
              EndsWith(" info reading base model path=/models/lite done=25%\n"));
}

}  // namespace
}  // namespace fedtune
