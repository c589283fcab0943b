// SPDX-License-Identifier: Apache-2.0

// Adapters in checkpoints whose linear layers are blocks of 8-bit floats.

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "gmock/gmock.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/float_conversion.h"
#include "model/checkpoint/merge.h"
#include "model/checkpoint/merge_check.h"
#include "model/checkpoint/safetensors_writer.h"
#include "nlohmann/json.hpp"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

const std::string kBlock = "model.layers.0.";

std::vector<std::byte> Bytes(const std::vector<int>& values) {
  std::vector<std::byte> bytes;
  bytes.reserve(values.size());
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

std::vector<std::byte> Floats(const std::vector<float>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(float));
  EncodeFloats(TensorType::kF32, values, bytes);
  return bytes;
}

std::vector<float> Decode(const TensorView& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.value_count()));
  DecodeFloats(tensor.type, tensor.bytes, values);
  return values;
}

// Weights of two rows and three columns in blocks of two by two: four projections of
// an MLP and of the attention, and two experts.
class MergeFp8Test : public ::testing::Test {
 protected:
  void WriteBase(std::string_view more = "") {
    ASSERT_THAT(MakeDirectories(base_), IsOk());
    std::vector<TensorView> tensors = strange_;
    for (const char* module :
         {"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", "self_attn.q_a_proj",
          "self_attn.kv_a_proj_with_mqa", "mlp.experts.0.up_proj", "mlp.experts.1.up_proj"}) {
      const std::string name = kBlock + module + ".weight";
      tensors.push_back({name, TensorType::kF8E4M3, {2, 3}, weight_});
      tensors.push_back({name + "_scale_inv", scale_type_, {1, 2}, scales_});
    }
    tensors.push_back({"lm_head.weight", TensorType::kF32, {1, 2}, head_});
    ASSERT_THAT(WriteSafetensors(base_ / "model.safetensors", tensors, {}), IsOk());
    ASSERT_THAT(
        WriteFileAtomically(
            base_ / "config.json",
            std::string(R"({"x": 1, "quantization_config": {"quant_method": "fp8",)") +
                R"( "fmt": "e4m3", "weight_block_size": [2, 2])" + std::string(more) + "}}"),
        IsOk());
  }

  // What is made is what CheckMerged() expects.
  absl::Status Merge(const std::string& module) {
    const auto layout = AdapterLayout::Create({{kBlock + module, 3, 2, 1, 1}});
    const std::vector<float> values = {1, 2, 4, 0.5, 0};
    RETURN_IF_ERROR(MergeAdapter(base_, *layout, values, target_, [](double) {}));
    EXPECT_THAT(CheckMerged(base_, *layout, values, target_, [](double) {}), IsOk());
    return absl::OkStatus();
  }

  std::vector<std::string> Unconverted() {
    const auto config = nlohmann::json::parse(*ReadFile(target_ / "config.json"));
    EXPECT_EQ(config["x"], 1);
    return config["quantization_config"]["modules_to_not_convert"];
  }

  const testing::TemporaryDirectory folder_;
  const std::filesystem::path base_ = folder_.path() / "base";
  const std::filesystem::path target_ = folder_.path() / "merged";
  // 1, -2, 448; 0.001953125 (the least), 0, 1.5.
  const std::vector<std::byte> weight_ = Bytes({0x38, 0xc0, 0x7e, 0x01, 0x00, 0x3c});
  TensorType scale_type_ = TensorType::kF32;
  std::vector<std::byte> scales_ = Floats({2, 0.5});
  const std::vector<std::byte> head_ = Floats({1, 2});
  std::vector<TensorView> strange_;  // Tensors of the base that no model has.
};

TEST_F(MergeFp8Test, WidensTheLayerAndAddsTheUpdate) {
  WriteBase();
  ASSERT_THAT(Merge("mlp.down_proj"), IsOk());
  const auto merged = Checkpoint::Open(target_);
  ASSERT_THAT(merged, IsOk());
  const TensorView* weight = merged->Find(kBlock + "mlp.down_proj.weight");
  EXPECT_EQ(weight->type, TensorType::kBF16);
  EXPECT_THAT(Decode(*weight), ElementsAre(2.5, -3, 226, 0.00390625, 0, 0.75));
  EXPECT_EQ(merged->Find(kBlock + "mlp.down_proj.weight_scale_inv"), nullptr);
  EXPECT_THAT(Unconverted(), ElementsAre("lm_head", kBlock + "mlp.down_proj"));
}

TEST_F(MergeFp8Test, TakesScalesOf16Bits) {
  scale_type_ = TensorType::kBF16;
  scales_ = Bytes({0x00, 0x40, 0x00, 0x3f});
  WriteBase();
  ASSERT_THAT(Merge("mlp.down_proj"), IsOk());
  const auto merged = Checkpoint::Open(target_);
  EXPECT_THAT(Decode(*merged->Find(kBlock + "mlp.down_proj.weight")),
              ElementsAre(2.5, -3, 226, 0.00390625, 0, 0.75));
}

TEST_F(MergeFp8Test, KeepsEverythingElseByteForByte) {
  WriteBase();
  ASSERT_THAT(Merge("mlp.down_proj"), IsOk());
  const auto before = Checkpoint::Open(base_);
  const auto merged = Checkpoint::Open(target_);
  size_t kept = 0;
  for (const TensorView& tensor : before->shards()[0].tensors()) {
    if (tensor.name.find("down_proj") != std::string::npos) continue;
    ASSERT_NE(merged->Find(tensor.name), nullptr) << tensor.name;
    EXPECT_TRUE(std::ranges::equal(tensor.bytes, merged->Find(tensor.name)->bytes));
    ++kept;
  }
  EXPECT_EQ(kept, 13U);
  EXPECT_EQ(merged->shards()[0].tensors().size(), 14U);
}

TEST_F(MergeFp8Test, WidensWhatIsComputedTogether) {
  for (const auto& [adapted, widened] :
       {std::pair("mlp.up_proj", "mlp.gate_proj"),
        std::pair("self_attn.kv_a_proj_with_mqa", "self_attn.q_a_proj")}) {
    std::filesystem::remove_all(target_);
    WriteBase();
    ASSERT_THAT(Merge(adapted), IsOk());
    const auto merged = Checkpoint::Open(target_);
    const TensorView* weight = merged->Find(kBlock + widened + ".weight");
    EXPECT_EQ(weight->type, TensorType::kBF16);
    EXPECT_THAT(Decode(*weight), ElementsAre(2, -4, 224, 0.00390625, 0, 0.75));
    EXPECT_EQ(Unconverted().size(), 3U);
  }
}

TEST_F(MergeFp8Test, WidensAllRoutedExpertsOfALayer) {
  WriteBase(R"(, "modules_to_not_convert": ["lm_head"])");
  ASSERT_THAT(Merge("mlp.experts.1.up_proj"), IsOk());
  const auto merged = Checkpoint::Open(target_);
  EXPECT_THAT(Decode(*merged->Find(kBlock + "mlp.experts.0.up_proj.weight")),
              ElementsAre(2, -4, 224, 0.00390625, 0, 0.75));
  EXPECT_THAT(Unconverted(), ElementsAre("lm_head", kBlock + "mlp.experts"));
}

TEST_F(MergeFp8Test, AnIndexLosesTheScales) {
  WriteBase();
  nlohmann::json index = {{"metadata", {{"total_size", 1}}}};
  const auto base = Checkpoint::Open(base_);
  for (const TensorView& tensor : base->shards()[0].tensors()) {
    index["weight_map"][tensor.name] = "model.safetensors";
  }
  ASSERT_THAT(WriteFileAtomically(base_ / kWeightsIndexFile, index.dump()), IsOk());
  ASSERT_THAT(Merge("mlp.down_proj"), IsOk());
  const auto merged = Checkpoint::Open(target_);
  ASSERT_THAT(merged, IsOk()) << merged.status();
  const auto written = nlohmann::json::parse(*ReadFile(target_ / kWeightsIndexFile));
  EXPECT_EQ(written["weight_map"].size(), 14U);
  EXPECT_EQ(written["metadata"]["total_size"], merged->weight_bytes());
}

TEST_F(MergeFp8Test, RefusesAConfigurationWithoutBlocks) {
  WriteBase();
  ASSERT_THAT(WriteFileAtomically(base_ / "config.json", "{}"), IsOk());
  const absl::Status status = Merge("mlp.down_proj");
  ASSERT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Message(status), HasSubstr("does not say how large the blocks"));
}

TEST_F(MergeFp8Test, RefusesScalesOfOtherBlocks) {
  WriteBase();
  ASSERT_THAT(WriteFileAtomically(base_ / "config.json",
                                  R"({"quantization_config": {"quant_method": "fp8",)"
                                  R"( "weight_block_size": [1, 2]}})"),
              IsOk());
  const absl::Status status = Merge("mlp.down_proj");
  ASSERT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Message(status), HasSubstr("is F32 of [1, 2], but the blocks"));
}

TEST_F(MergeFp8Test, RefusesBlocksOfWhatIsNoMatrix) {
  const std::string name = kBlock + "mlp.experts.0.up_proj.bias";
  strange_ = {{name, TensorType::kF8E4M3, {6}, weight_},
              {name + "_scale_inv", TensorType::kF32, {1, 2}, scales_}};
  WriteBase();
  const absl::Status status = Merge("mlp.experts.1.up_proj");
  ASSERT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Message(status), HasSubstr("mlp.experts.0.up_proj.bias is [6]"));
}

TEST(FloatFromE4M3Test, IsWhatTheFormatSays) {
  EXPECT_EQ(FloatFromE4M3(0x7e), 448);
  EXPECT_EQ(FloatFromE4M3(0xfe), -448);
  EXPECT_EQ(FloatFromE4M3(0x08), 0x1p-6F);
  EXPECT_EQ(FloatFromE4M3(0x07), 7 * 0x1p-9F);
  EXPECT_TRUE(std::signbit(FloatFromE4M3(0x80)));
  EXPECT_TRUE(std::isnan(FloatFromE4M3(0x7f)));
}

}  // namespace
}  // namespace fedtune
