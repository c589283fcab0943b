// SPDX-License-Identifier: Apache-2.0

#include "cli/verification.h"

#include <filesystem>
#include <string>
#include <vector>

#include "aggregation/adapter_bytes.h"
#include "base/exit_code.h"
#include "base/files.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/merge.h"
#include "model/checkpoint/peft_adapter.h"
#include "model/checkpoint/safetensors_writer.h"
#include "plan/base_model_digest.h"
#include "tests/support/signed_log.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::testing::HasSubstr;
using testing::IsOk;

// An auditor with the record of a run of three rounds, of which the second burnt, and its
// last adapter as it was pulled.
class VerificationTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_THAT(WritePeftAdapter(files_.folder, layout_, values_, "base"), IsOk());
    WriteRecord();
  }

  static Digest DigestOf(const std::vector<float>& values) { return Sha256Of(ValueBytes(values)); }

  void WriteRecord() {
    nlohmann::json record = {{"run_id", "run-7f3a"},
                             {"base_model", "tiny"},
                             {"base_digest", base_digest_},
                             {"rounds_done", 3},
                             {"adapter", DigestOf(values_).ToString()},
                             {"layout_digest", Sha256Of(layout_.ToJson()).ToString()}};
    for (const std::vector<float>* adapter : {&first_, &first_, &values_}) {
      record["rounds"].push_back(
          {{"round", record["rounds"].size() + 1}, {"adapter", DigestOf(*adapter).ToString()}});
    }
    record["rounds"][1]["burnt"] = "two dropped out";
    Put(files_.record, record.dump());
  }

  // A base model, and the adapter merged into it.
  void Merge() {
    const std::vector<std::byte> bytes(48);
    const std::vector<TensorView> tensors = {
        {"model.layers.0.q.weight", TensorType::kF32, {2, 3}, std::span(bytes).first(24)},
        {"model.layers.0.k.weight", TensorType::kF32, {2, 3}, std::span(bytes).last(24)}};
    files_.adapter = files_.folder;
    files_.base = folder_.path() / "base";
    files_.folder = folder_.path() / "merged";
    ASSERT_THAT(MakeDirectories(files_.base), IsOk());
    ASSERT_THAT(WriteSafetensors(files_.base / kSingleWeightsFile, tensors, {}), IsOk());
    Put(files_.base / "config.json", "{}");
    Put(files_.base / "tokenizer.json", "{}");
    base_digest_ = DigestBaseModel(files_.base)->digest;
    WriteRecord();
    ASSERT_THAT(MergeAdapter(files_.base, layout_, values_, files_.folder, [](double) {}), IsOk());
  }

  static void Put(const std::filesystem::path& file, std::string_view content) {
    ASSERT_THAT(WriteFileAtomically(file, content), IsOk());
  }

  // With which exit code and message it is refused.
  void ExpectRefusal(int code, std::string_view why, std::optional<int64_t> round = std::nullopt) {
    const auto verification = Verify(files_, round);
    ASSERT_FALSE(verification.ok());
    EXPECT_EQ(ExitCodeFor(verification.status()), code);
    EXPECT_THAT(std::string(Message(verification.status())), HasSubstr(why));
  }

  const testing::TemporaryDirectory folder_;
  VerificationFiles files_ = {.folder = folder_.path() / "peft",
                              .record = folder_.path() / "run.json",
                              .logs = {},
                              .audit_log = {},
                              .authority_pem = {},
                              .adapter = {},
                              .base = {}};
  const AdapterLayout layout_ =
      *AdapterLayout::Create({{"model.layers.0.q", 3, 2, 1, 2}, {"model.layers.0.k", 3, 2, 1, 2}});
  const std::vector<float> first_ = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  const std::vector<float> values_ = {0.1F, 2, 3, 4, 5, 6, 7, 8, 9, -0.0F};
  std::string base_digest_ = "sha256:ab";
};

TEST_F(VerificationTest, APulledAdapterIsThatOfTheLastRound) {
  const auto verification = Verify(files_, std::nullopt);
  ASSERT_THAT(verification, IsOk()) << verification.status();
  EXPECT_EQ(verification->round, 3);
  const std::string text = VerificationText(*verification, "peft");
  EXPECT_THAT(text, HasSubstr("peft is the adapter of run-7f3a after round 3, its last\n"));
  EXPECT_THAT(text, HasSubstr(DigestOf(values_).ToString()));
  const auto json = VerificationToJson(*verification, "peft");
  EXPECT_EQ(json["kind"], "adapter");
  EXPECT_EQ(json["round"], 3);
  EXPECT_EQ(json["adapter"], DigestOf(values_).ToString());
}

TEST_F(VerificationTest, OneValueThatWasChangedIsSeen) {
  std::vector<float> changed = values_;
  changed[9] = 0;
  std::filesystem::remove_all(files_.folder);
  ASSERT_THAT(WritePeftAdapter(files_.folder, layout_, changed, "base"), IsOk());
  ExpectRefusal(3, "is not what run-7f3a released: its values have the digest ");
}

TEST_F(VerificationTest, AnEarlierRoundsAdapterIsThatOfItsRoundOnly) {
  std::filesystem::remove_all(files_.folder);
  ASSERT_THAT(WritePeftAdapter(files_.folder, layout_, first_, "base"), IsOk());
  ExpectRefusal(3, "is the adapter of run-7f3a after round 1, and not after round 3; --round 1");
  EXPECT_THAT(Verify(files_, 1), IsOk());
  const auto burnt = Verify(files_, 2);
  ASSERT_THAT(burnt, IsOk());
  EXPECT_THAT(VerificationText(*burnt, "peft"),
              HasSubstr("after round 2 of 3; round 1 has made it, as those since burnt"));
  ExpectRefusal(2, "--round 4: the record of run-7f3a has rounds 1 to 3", 4);
  ExpectRefusal(2, "--round 0", 0);
}

// peft writes its modules in another order, without the layout.
TEST_F(VerificationTest, WithoutTheLayoutTheOrderOfTheFileIsTaken) {
  std::filesystem::remove(files_.folder / kAdapterLayoutFile);
  EXPECT_THAT(Verify(files_, std::nullopt), IsOk());
  const auto turned = *AdapterLayout::Create({layout_.modules().at(1), layout_.modules().at(0)});
  std::filesystem::remove_all(files_.folder);
  ASSERT_THAT(WritePeftAdapter(files_.folder, turned, values_, "base"), IsOk());
  ExpectRefusal(3, "its fedtune_layout.json has the digest");
  std::filesystem::remove(files_.folder / kAdapterLayoutFile);
  ExpectRefusal(3, "nobody can tell");
  Put(files_.folder / kAdapterLayoutFile, layout_.ToJson());
  ExpectRefusal(3, "is not what run-7f3a released");
}

TEST_F(VerificationTest, AnAdapterOfAnotherScaleIsNotTheSame) {
  std::vector<AdapterModule> modules = layout_.modules();
  for (AdapterModule& module : modules) module.alpha = 4;
  std::filesystem::remove_all(files_.folder);
  ASSERT_THAT(WritePeftAdapter(files_.folder, *AdapterLayout::Create(modules), values_, "base"),
              IsOk());
  Put(files_.folder / kAdapterLayoutFile, layout_.ToJson());
  ExpectRefusal(3, "has the scale 4, and not 2");
}

TEST_F(VerificationTest, TheRecordIsComparedWithItselfAndWithLogs) {
  files_.logs = {folder_.path() / "st-anna.log"};
  const auto line = [&](int64_t round, const std::vector<float>& adapter) {
    return "2026-11-27T20:00:01.000Z info round assigned run=run-7f3a round=" +
           std::to_string(round) + " attempt=1 adapter=" + DigestOf(adapter).ToHex().substr(0, 12) +
           " time_left=\"2 h\"\n";
  };
  Put(files_.logs[0], line(2, first_) + line(3, first_));
  const auto verification = Verify(files_, std::nullopt);
  ASSERT_THAT(verification, IsOk());
  EXPECT_THAT(VerificationText(*verification, "peft"),
              HasSubstr("st-anna.log: 2 rounds began with the same adapters"));
  EXPECT_EQ(VerificationToJson(*verification, "peft")["logs"][0]["rounds"], 2);
  Put(files_.logs[0], line(3, values_));
  ExpectRefusal(3, "st-anna.log contradicts the record of run-7f3a: round 3 began with");
  nlohmann::json record = nlohmann::json::parse(*ReadFile(files_.record));
  record["rounds"].erase(2);
  Put(files_.record, record.dump());
  ExpectRefusal(3, "run.json contradicts itself: rounds_done is 3");
}

TEST_F(VerificationTest, TheRecordIsComparedWithTheCoordinatorsAuditLog) {
  testing::SignedLog log;
  const auto release = [&](int64_t round, const std::vector<float>& adapter, const char* burnt) {
    log.Add(RoundReleased{.run = "run-7f3a",
                          .round = round - 1,
                          .attempt = 1,
                          .contributions = 0,
                          .adapter = DigestOf(adapter),
                          .burnt = burnt});
  };
  testing::BeginLog(log);
  log.Add(RunStarted{.run = "run-7f3a",
                     .plan = {},
                     .layout = Sha256Of(layout_.ToJson()),
                     .base_digest = base_digest_,
                     .adapter = {},
                     .started_by = "ada"});
  release(1, first_, "");
  release(2, first_, "two dropped out");
  const testing::SignedLog other = log;
  log.Add(RoundOpened{.run = "run-7f3a", .round = 2, .attempt = 1, .adapter = DigestOf(first_)});
  release(3, values_, "");
  files_.audit_log = folder_.path() / "north.log";
  files_.authority_pem = log.authority_pem();
  Put(files_.audit_log, log.FileText());
  const auto verification = Verify(files_, std::nullopt);
  ASSERT_THAT(verification, IsOk()) << verification.status();
  EXPECT_THAT(VerificationText(*verification, "peft"),
              HasSubstr("  audit log 3 of 3 rounds are in it, and agree; coordinator hub"));
  EXPECT_EQ(VerificationToJson(*verification, "peft")["audit_log"]["rounds"], 3);
  Put(files_.audit_log, other.FileText());
  ExpectRefusal(3, "run.json: round 3 of run-7f3a is not in the log");
  Put(files_.audit_log, log.FileText(other.checkpoint()));
  ExpectRefusal(3, "north.log is not the log that coordinator hub has signed");
}

TEST_F(VerificationTest, FilesThatAreNotThereOrDamagedAreNamed) {
  files_.record = folder_.path() / "none.json";
  ExpectRefusal(2, "none.json");
  files_.record = folder_.path() / "run.json";
  Put(files_.folder / "adapter_model.safetensors", "damaged");
  ExpectRefusal(1, "adapter_model.safetensors");
  std::filesystem::remove(files_.folder / "adapter_model.safetensors");
  ExpectRefusal(2, "adapter_model.safetensors");
  files_.folder = folder_.path() / "nowhere";
  ExpectRefusal(2, "there is no folder ");
}

TEST_F(VerificationTest, AMergedModelIsComparedWithWhatItIsMadeOf) {
  Merge();
  const auto verification = Verify(files_, std::nullopt);
  ASSERT_THAT(verification, IsOk()) << verification.status();
  EXPECT_THAT(VerificationText(*verification, "merged"),
              HasSubstr("merged is tiny with the adapter of run-7f3a after round 3, its last\n"));
  EXPECT_EQ(VerificationToJson(*verification, "merged")["kind"], "merged");
  Put(files_.folder / "modeling.py", "");
  ExpectRefusal(3, "merged differs: file modeling.py, which is one more");
  Put(files_.base / "config.json", "{\"another\": 1}");
  ExpectRefusal(3, "is not the base model of run-7f3a");
  files_.base.clear();
  ExpectRefusal(2, "merged is a whole model; name the adapter");
}

}  // namespace
}  // namespace fedtune
