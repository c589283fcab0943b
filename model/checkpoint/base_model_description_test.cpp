// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/base_model_description.h"

#include "base/files.h"
#include "gmock/gmock.h"
#include "model/checkpoint/model_config.h"
#include "model/checkpoint/safetensors_writer.h"
#include "nlohmann/json.hpp"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

constexpr char kConfig[] = R"({"model_type": "deepseek_v2", "hidden_size": 4,
  "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 6, "intermediate_size": 5,
  "max_position_embeddings": 32, "rms_norm_eps": 1e-6, "q_lora_rank": null, "kv_lora_rank": 3, "qk_nope_head_dim": 2,
  "qk_rope_head_dim": 2, "v_head_dim": 3, "n_routed_experts": 2, "n_shared_experts": 1,
  "num_experts_per_tok": 1, "moe_intermediate_size": 2, "first_k_dense_replace": 1})";

class DescribeBaseModelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_THAT(MakeDirectories(directory_), IsOk());
    ASSERT_THAT(WriteFileAtomically(directory_ / "config.json", kConfig), IsOk());
    AddVectors();
    for (const LinearLayer& layer : LinearLayers(*ParseModelConfig(kConfig, "config.json"))) {
      tensors_.push_back(
          {layer.name + ".weight", TensorType::kF32, {layer.out_features, layer.in_features}, {}});
    }
  }

  void AddVectors() {
    const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
      tensors_.push_back({name + ".weight", TensorType::kF32, std::move(shape), {}});
    };
    add("model.embed_tokens", {6, 4});
    add("model.norm", {4});
    for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
      add(layer + "input_layernorm", {4});
      add(layer + "post_attention_layernorm", {4});
      add(layer + "self_attn.kv_a_layernorm", {3});
    }
    first_linear_ = tensors_.size();
  }

  void WriteWeights() {
    const std::vector<std::byte> zeros(4096);
    for (TensorView& tensor : tensors_) {
      auto count = static_cast<size_t>(BytesPerValue(tensor.type));
      for (const int64_t size : tensor.shape) count *= static_cast<size_t>(size);
      tensor.bytes = std::span(zeros).first(count);
    }
    ASSERT_THAT(WriteSafetensors(directory_ / "model.safetensors", tensors_, {}), IsOk());
  }

  const testing::TemporaryDirectory folder_;
  const std::filesystem::path directory_ = folder_.path() / "tiny";
  std::vector<TensorView> tensors_;
  size_t first_linear_ = 0;
};

TEST_F(DescribeBaseModelTest, DescribesACheckpoint) {
  WriteWeights();
  const auto description = DescribeBaseModel(directory_ / "");
  ASSERT_THAT(description, IsOk());
  EXPECT_EQ(description->name, "tiny");
  EXPECT_EQ(description->digest, "");
  EXPECT_EQ(description->model_type, "deepseek_v2");
  EXPECT_EQ(description->weight_bytes, 4 * description->parameter_count);
  EXPECT_EQ(description->experts_per_token, 1);
  EXPECT_EQ(description->linear_layers.size(), tensors_.size() - first_linear_);
}

TEST_F(DescribeBaseModelTest, SurvivesATripThroughJson) {
  WriteWeights();
  auto description = DescribeBaseModel(directory_);
  ASSERT_THAT(description, IsOk());
  description->digest = "sha256:9c1e";
  const auto read = BaseModelDescriptionFromJson(ToJson(*description));
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(*read, *description);
}

TEST_F(DescribeBaseModelTest, SaysWhetherALinearLayerIsStoredInFp16) {
  WriteWeights();
  EXPECT_FALSE(DescribeBaseModel(directory_)->has_fp16);
  tensors_.back().type = TensorType::kF16;
  WriteWeights();
  const auto description = DescribeBaseModel(directory_);
  ASSERT_THAT(description, IsOk());
  EXPECT_TRUE(description->has_fp16);
  EXPECT_TRUE(BaseModelDescriptionFromJson(ToJson(*description))->has_fp16);
}

TEST_F(DescribeBaseModelTest, RefusesAWeightOfAnotherShape) {
  tensors_[first_linear_].shape = {1, 2};
  WriteWeights();
  const auto description = DescribeBaseModel(directory_);
  ASSERT_THAT(description, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(description.status().message()),
              HasSubstr("q_proj.weight is [1, 2]; config.json implies [8, 4]"));
}

TEST_F(DescribeBaseModelTest, NamesABiasThatIsMissing) {
  std::string config = kConfig;
  config.replace(config.rfind('}'), 1, R"(, "attention_bias": true})");
  ASSERT_THAT(WriteFileAtomically(directory_ / "config.json", config), IsOk());
  WriteWeights();
  const auto description = DescribeBaseModel(directory_);
  ASSERT_THAT(description, HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(std::string(description.status().message()), HasSubstr("kv_a_proj_with_mqa.bias"));
}

TEST_F(DescribeBaseModelTest, NamesAWeightThatIsMissing) {
  tensors_.pop_back();
  WriteWeights();
  const auto description = DescribeBaseModel(directory_);
  ASSERT_THAT(description, HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(std::string(description.status().message()), HasSubstr("lm_head.weight"));
}

TEST(BaseModelDescriptionTest, RefusesWhatItDidNotWrite) {
  BaseModelDescription description;
  description.linear_layers = {{"a", LayerKind::kRouter, 2, 3, /*has_bias=*/true}};
  const std::string good = ToJson(description);
  ASSERT_THAT(BaseModelDescriptionFromJson(good), IsOk());
  EXPECT_EQ(BaseModelDescriptionFromJson(good)->linear_layers, description.linear_layers);
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, nlohmann::json>>{{"/parameter_count", -1},
                                                           {"/hidden_size", nullptr},
                                                           {"/name", 5},
                                                           {"/linear_layers", 7},
                                                           {"/linear_layers/0", 7},
                                                           {"/linear_layers/0/kind", "cat"},
                                                           {"/linear_layers/0/name", nullptr},
                                                           {"/linear_layers/0/in_features", 0}}) {
    auto json = nlohmann::json::parse(good);
    json[nlohmann::json::json_pointer(key)] = value;
    EXPECT_THAT(BaseModelDescriptionFromJson(json.dump()),
                HasCode(absl::StatusCode::kInvalidArgument))
        << key;
  }
  EXPECT_THAT(BaseModelDescriptionFromJson("[]"), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(BaseModelDescriptionTest, NamesEveryKindOfLayer) {
  EXPECT_EQ(ToString(LayerKind::kAttention), "attention");
  EXPECT_EQ(ToString(LayerKind::kRoutedExpert), "routed_experts");
  EXPECT_EQ(ToString(LayerKind::kHead), "head");
}

}  // namespace
}  // namespace fedtune
