// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/merge.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/status_macros.h"
#include "gmock/gmock.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/float_conversion.h"
#include "model/checkpoint/merge_check.h"
#include "model/checkpoint/safetensors_writer.h"
#include "tests/support/small_disk.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

constexpr char kIndex[] =
    R"({"weight_map": {"q.weight": "1.safetensors", "norm.weight": "1.safetensors",)"
    R"( "up.weight": "2.safetensors"}})";

std::vector<std::byte> Encode(TensorType type, const std::vector<float>& values) {
  std::vector<std::byte> bytes(values.size() * static_cast<size_t>(BytesPerValue(type)));
  EncodeFloats(type, values, bytes);
  return bytes;
}

std::vector<float> Decode(const TensorView& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.value_count()));
  DecodeFloats(tensor.type, tensor.bytes, values);
  return values;
}

// A checkpoint of two shards with q [2, 3] of `type`, up [1, 2] and a norm.
class MergeAdapterTest : public ::testing::Test {
 protected:
  void WriteBase(TensorType type = TensorType::kF32) {
    ASSERT_THAT(MakeDirectories(base_), IsOk());
    const auto q = Encode(type, {1, 2, 3, 4, 5, 6});
    const auto norm = Encode(TensorType::kF32, {0.1F, 0.2F});
    const auto up = Encode(TensorType::kF32, {-1, 1});
    const std::vector<TensorView> first = {{"q.weight", type, {2, 3}, q},
                                           {"norm.weight", TensorType::kF32, {2}, norm}};
    const std::vector<TensorView> second = {{"up.weight", TensorType::kF32, {1, 2}, up}};
    ASSERT_THAT(WriteSafetensors(base_ / "1.safetensors", first, {{"format", "pt"}}), IsOk());
    ASSERT_THAT(WriteSafetensors(base_ / "2.safetensors", second, {}), IsOk());
    Put(kWeightsIndexFile, kIndex);
    Put("config.json", "{}");
    Put("tokenizer.json", "tokens");
  }

  void Put(std::string_view name, std::string_view content) {
    ASSERT_THAT(WriteFileAtomically(base_ / name, content), IsOk());
  }

  // Rank 1 with scale 2: adds 2 b a. What is made is what CheckMerged() expects.
  absl::Status Merge(std::vector<float> values = {1, 0, 2, 10, 20}) {
    const auto layout = AdapterLayout::Create({{"q", 3, 2, 1, 2}});
    RETURN_IF_ERROR(MergeAdapter(base_, *layout, values, target_,
                                 [this](double fraction) { fraction_ = fraction; }));
    EXPECT_THAT(CheckMerged(base_, *layout, values, target_, [](double) {}), IsOk());
    return absl::OkStatus();
  }

  std::string ErrorOf(const absl::Status& status, absl::StatusCode code) {
    EXPECT_THAT(status, HasCode(code));
    EXPECT_FALSE(std::filesystem::exists(target_));
    EXPECT_FALSE(std::filesystem::exists(folder_.path() / "merged.partial"));
    return std::string(status.message());
  }

  const testing::TemporaryDirectory folder_;
  const std::filesystem::path base_ = folder_.path() / "base";
  const std::filesystem::path target_ = folder_.path() / "merged";
  double fraction_ = 0;
};

TEST_F(MergeAdapterTest, AddsTheScaledProduct) {
  WriteBase();
  ASSERT_THAT(Merge(), IsOk());
  const auto merged = Checkpoint::Open(target_);
  ASSERT_THAT(merged, IsOk());
  EXPECT_THAT(Decode(*merged->Find("q.weight")), ElementsAre(21, 2, 43, 44, 5, 86));
  EXPECT_EQ(fraction_, 1);
}

TEST_F(MergeAdapterTest, KeepsEverythingElseByteForByte) {
  WriteBase();
  ASSERT_THAT(Merge(), IsOk());
  const auto before = Checkpoint::Open(base_);
  const auto after = Checkpoint::Open(target_);
  ASSERT_THAT(after, IsOk());
  for (const char* name : {"norm.weight", "up.weight"}) {
    EXPECT_TRUE(std::ranges::equal(before->Find(name)->bytes, after->Find(name)->bytes));
  }
  EXPECT_EQ(after->shards().size(), 2U);
  EXPECT_EQ(after->shards()[0].metadata().at("format"), "pt");
  EXPECT_EQ(*ReadFile(target_ / kWeightsIndexFile), kIndex);
  EXPECT_EQ(*ReadFile(target_ / "tokenizer.json"), "tokens");
}

TEST_F(MergeAdapterTest, RoundsToTheTypeOfTheWeight) {
  for (const TensorType type : {TensorType::kBF16, TensorType::kF16}) {
    WriteBase(type);
    std::filesystem::remove_all(target_);
    ASSERT_THAT(Merge({0.001F, 0, 0, 1, 0}), IsOk());
    const auto merged = Checkpoint::Open(target_);
    const TensorView* q = merged->Find("q.weight");
    EXPECT_EQ(q->type, type);
    const float expected = type == TensorType::kBF16 ? 1.0F : 1.001953125F;
    EXPECT_THAT(Decode(*q), ElementsAre(expected, 2, 3, 4, 5, 6));
  }
}

TEST_F(MergeAdapterTest, LeavesOutWeightsInOtherFormats) {
  WriteBase();
  Put("pytorch_model.bin", "old");
  Put("pytorch_model.bin.index.json", "{}");
  Put("consolidated.safetensors", "old");
  ASSERT_THAT(Merge(), IsOk());
  EXPECT_FALSE(std::filesystem::exists(target_ / "pytorch_model.bin"));
  EXPECT_FALSE(std::filesystem::exists(target_ / "pytorch_model.bin.index.json"));
  EXPECT_FALSE(std::filesystem::exists(target_ / "consolidated.safetensors"));
}

TEST_F(MergeAdapterTest, CopiesChatTemplatesThatHaveNamesAndNoOtherSubFolder) {
  WriteBase();
  for (const char* folder : {"additional_chat_templates", "onnx"}) {
    std::filesystem::create_directory(base_ / folder);
    Put(std::string(folder) + "/rag.jinja", "template");
  }
  ASSERT_THAT(Merge(), IsOk());
  EXPECT_EQ(*ReadFile(target_ / "additional_chat_templates" / "rag.jinja"), "template");
  EXPECT_FALSE(std::filesystem::exists(target_ / "onnx"));
}

TEST_F(MergeAdapterTest, RefusesATargetThatIsNotEmpty) {
  WriteBase();
  ASSERT_THAT(Merge(), IsOk());
  EXPECT_THAT(Merge(), HasCode(absl::StatusCode::kAlreadyExists));
}

TEST_F(MergeAdapterTest, ReplacesWhatADeadAttemptLeft) {
  WriteBase();
  ASSERT_THAT(MakeDirectories(folder_.path() / "merged.partial"), IsOk());
  ASSERT_THAT(WriteFileAtomically(folder_.path() / "merged.partial/junk", "x"), IsOk());
  ASSERT_THAT(Merge(), IsOk());
  EXPECT_FALSE(std::filesystem::exists(target_ / "junk"));
}

// Merges in a process that is killed before its last file is complete.
void MergeUntilKilled(const std::function<void(const std::function<void(double)>&)>& merge) {
  const pid_t child = ::fork();
  if (child == 0) {
    merge([](double fraction) {
      if (fraction > 0.9) ::_exit(7);  // All is written, and the last file has no name yet.
    });
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

TEST_F(MergeAdapterTest, GoesOnWhereAKilledOneWas) {
  WriteBase();
  const auto layout = AdapterLayout::Create({{"up", 2, 1, 1, 2}});
  const std::vector<float> values = {1, 2, 3};
  MergeUntilKilled([&](const auto& progress) {
    // The first shard is complete, the second has not all its bytes.
    (void)MergeAdapter(base_, *layout, values, target_, progress);
  });
  const auto partial = folder_.path() / "merged.partial";
  ASSERT_TRUE(std::filesystem::exists(partial / "1.safetensors"));
  ASSERT_FALSE(std::filesystem::exists(partial / "2.safetensors"));
  const auto written = std::filesystem::last_write_time(partial / "1.safetensors");
  double first = -1;
  ASSERT_THAT(MergeAdapter(base_, *layout, values, target_,
                           [&](double fraction) { first = first < 0 ? fraction : first; }),
              IsOk());
  EXPECT_EQ(std::filesystem::last_write_time(target_ / "1.safetensors"), written);
  EXPECT_GT(first, 0.7) << "what was done counts";
  const auto merged = Checkpoint::Open(target_);
  ASSERT_THAT(merged, IsOk());
  EXPECT_THAT(Decode(*merged->Find("up.weight")), ElementsAre(5, 13));
  for (const auto& entry : std::filesystem::directory_iterator(target_)) {
    EXPECT_NE(entry.path().extension(), ".partial");
    EXPECT_NE(entry.path().filename(), ".mark");
  }
}

TEST_F(MergeAdapterTest, GoesOnWhereItWasStopped) {
  WriteBase();
  const auto layout = AdapterLayout::Create({{"up", 2, 1, 1, 2}});
  const std::vector<float> values = {1, 2, 3};
  std::stop_source stop;
  const auto stop_in_second_shard = [&](double fraction) {
    if (fraction > 0.7) stop.request_stop();
  };
  EXPECT_THAT(MergeAdapter(base_, *layout, values, target_, stop_in_second_shard, stop.get_token()),
              HasCode(absl::StatusCode::kCancelled));
  EXPECT_FALSE(std::filesystem::exists(target_));
  const auto partial = folder_.path() / "merged.partial";
  ASSERT_TRUE(std::filesystem::exists(partial / "1.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(partial / "2.safetensors"));
  const auto written = std::filesystem::last_write_time(partial / "1.safetensors");
  ASSERT_THAT(MergeAdapter(base_, *layout, values, target_, [](double) {}), IsOk());
  EXPECT_EQ(std::filesystem::last_write_time(target_ / "1.safetensors"), written);
  EXPECT_FALSE(std::filesystem::exists(partial));
}

TEST_F(MergeAdapterTest, GoesOnWhereTheDiskWasFull) {
  const testing::SmallDisk disk(folder_.path(), "1m");
  if (!disk.stands()) GTEST_SKIP() << "nothing may be mounted";
  WriteBase();
  const auto layout = AdapterLayout::Create({{"up", 2, 1, 1, 2}});
  const std::vector<float> values = {1, 2, 3};
  const auto target = disk.path() / "merged";
  const auto fill_after_first_shard = [&](double fraction) {
    if (fraction > 0.7) disk.Fill();
  };
  const auto first_shard = disk.path() / "merged.partial" / "1.safetensors";
  EXPECT_THAT(MergeAdapter(base_, *layout, values, target, fill_after_first_shard),
              HasCode(absl::StatusCode::kResourceExhausted));
  ASSERT_TRUE(std::filesystem::exists(first_shard));
  const auto written = std::filesystem::last_write_time(first_shard);
  EXPECT_THAT(MergeAdapter(base_, *layout, values, target, [](double) {}),
              HasCode(absl::StatusCode::kResourceExhausted))
      << "it is full as before";
  ASSERT_TRUE(std::filesystem::exists(first_shard));
  disk.Empty();
  ASSERT_THAT(MergeAdapter(base_, *layout, values, target, [](double) {}), IsOk());
  EXPECT_EQ(std::filesystem::last_write_time(target / "1.safetensors"), written);
  EXPECT_THAT(CheckMerged(base_, *layout, values, target, [](double) {}), IsOk());
}

TEST_F(MergeAdapterTest, LeavesNothingOnAFullDiskWhereNoShardIsComplete) {
  const testing::SmallDisk disk(folder_.path(), "1m");
  if (!disk.stands()) GTEST_SKIP() << "nothing may be mounted";
  WriteBase();
  const auto layout = AdapterLayout::Create({{"up", 2, 1, 1, 2}});
  disk.Fill();
  EXPECT_THAT(MergeAdapter(base_, *layout, std::vector<float>{1, 2, 3}, disk.path() / "merged",
                           [](double) {}),
              HasCode(absl::StatusCode::kResourceExhausted));
  EXPECT_FALSE(std::filesystem::exists(disk.path() / "merged.partial"));
}

TEST_F(MergeAdapterTest, KeepsNoHalfAFileOfAKilledOneInASubFolder) {
  WriteBase();
  std::filesystem::create_directory(base_ / "additional_chat_templates");
  Put("additional_chat_templates/rag.jinja", "template");
  const auto layout = AdapterLayout::Create({{"q", 3, 2, 1, 2}});
  MergeUntilKilled([&](const auto& progress) {
    (void)MergeAdapter(base_, *layout, std::vector<float>{1, 0, 2, 10, 20}, target_, progress);
  });
  const auto partial = folder_.path() / "merged.partial";
  ASSERT_THAT(
      WriteFileAtomically(partial / "additional_chat_templates" / "rag.jinja.7.partial", "temp"),
      IsOk());
  ASSERT_THAT(Merge(), IsOk());
}

TEST_F(MergeAdapterTest, BeginsAgainWithAnotherAdapterOrBase) {
  WriteBase();
  const auto layout = AdapterLayout::Create({{"q", 3, 2, 1, 2}});
  const std::vector<float> other = {1, 1, 1, 1, 1};
  MergeUntilKilled([&](const auto& progress) {
    (void)MergeAdapter(base_, *layout, other, target_, [&](double fraction) {
      if (fraction > 0.9) progress(fraction);  // The first shard, with q, is complete.
    });
  });
  ASSERT_TRUE(std::filesystem::exists(folder_.path() / "merged.partial" / "1.safetensors"));
  ASSERT_THAT(Merge(), IsOk());
  const auto merged = Checkpoint::Open(target_);
  EXPECT_THAT(Decode(*merged->Find("q.weight")), ElementsAre(21, 2, 43, 44, 5, 86));
}

TEST_F(MergeAdapterTest, WritesAShardAgainThatIsNotWhatItShouldBe) {
  WriteBase();
  const auto layout = AdapterLayout::Create({{"q", 3, 2, 1, 2}});
  MergeUntilKilled([&](const auto& progress) {
    (void)MergeAdapter(base_, *layout, std::vector<float>{1, 0, 2, 10, 20}, target_,
                       [&](double fraction) {
                         if (fraction > 0.9) progress(fraction);
                       });
  });
  std::filesystem::resize_file(folder_.path() / "merged.partial" / "1.safetensors", 100);
  ASSERT_THAT(Merge(), IsOk());
  const auto merged = Checkpoint::Open(target_);
  ASSERT_THAT(merged, IsOk());
  EXPECT_THAT(Decode(*merged->Find("q.weight")), ElementsAre(21, 2, 43, 44, 5, 86));
}

TEST_F(MergeAdapterTest, NamesALayerThatTheModelDoesNotHave) {
  WriteBase();
  const auto layout = AdapterLayout::Create({{"v", 3, 2, 1, 2}});
  const absl::Status status =
      MergeAdapter(base_, *layout, std::vector<float>(5), target_, [](double) {});
  EXPECT_THAT(ErrorOf(status, absl::StatusCode::kNotFound), HasSubstr("no tensor v.weight"));
}

TEST_F(MergeAdapterTest, RefusesAWeightOfAnotherShape) {
  WriteBase();
  const auto layout = AdapterLayout::Create({{"q", 2, 2, 1, 2}});
  const absl::Status status =
      MergeAdapter(base_, *layout, std::vector<float>(4), target_, [](double) {});
  EXPECT_THAT(ErrorOf(status, absl::StatusCode::kInvalidArgument),
              HasSubstr("q.weight is [2, 3], but the adapter is for [2, 2]"));
}

TEST_F(MergeAdapterTest, RefusesAWeightOfWholeNumbers) {
  WriteBase();
  const std::vector<std::byte> bytes(8);
  const std::vector<TensorView> tensors = {{"up.weight", TensorType::kI32, {1, 2}, bytes}};
  ASSERT_THAT(WriteSafetensors(base_ / "2.safetensors", tensors, {}), IsOk());
  const auto layout = AdapterLayout::Create({{"up", 2, 1, 1, 2}});
  const absl::Status status =
      MergeAdapter(base_, *layout, std::vector<float>(3), target_, [](double) {});
  EXPECT_THAT(ErrorOf(status, absl::StatusCode::kInvalidArgument), HasSubstr("up.weight is I32"));
}

TEST_F(MergeAdapterTest, RefusesToOverflow) {
  WriteBase(TensorType::kF16);
  EXPECT_THAT(ErrorOf(Merge({1e6, 0, 0, 1, 0}), absl::StatusCode::kInvalidArgument),
              HasSubstr("not finite in F16"));
}

TEST_F(MergeAdapterTest, SaysThatThereIsNoBase) {
  EXPECT_THAT(ErrorOf(Merge(), absl::StatusCode::kNotFound), HasSubstr("is not a folder"));
}

}  // namespace
}  // namespace fedtune
