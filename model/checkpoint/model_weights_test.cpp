// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/model_weights.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/status_macros.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/checkpoint/base_model_description.h"
#include "model/checkpoint/safetensors_writer.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

// Copies of a golden checkpoint with one tensor changed.
class ModelWeightsTest : public ::testing::Test {
 protected:
  void Copy(std::string_view name) {
    golden_ = std::filesystem::path("tests/interop/golden") / name;
    std::filesystem::copy_file(golden_ / "config.json", folder_.path() / "config.json",
                               std::filesystem::copy_options::overwrite_existing);
    file_.emplace(*SafetensorsFile::Open(golden_ / kSingleWeightsFile));
    tensors_ = file_->tensors();
  }

  TensorView& Tensor(std::string_view name) {
    return *std::find_if(tensors_.begin(), tensors_.end(),
                         [&](const TensorView& tensor) { return tensor.name == name; });
  }

  // What is said of a copy without the tensor.
  std::string Without(std::string_view name) {
    tensors_ = file_->tensors();
    EXPECT_EQ(std::erase_if(tensors_, [&](const TensorView& one) { return one.name == name; }), 1U);
    return Said(absl::StatusCode::kNotFound);
  }

  // What is said of one where it is only its first row or value.
  std::string Shortened(std::string_view name) {
    tensors_ = file_->tensors();
    TensorView& tensor = Tensor(name);
    tensor.bytes = tensor.bytes.first(tensor.bytes.size() / static_cast<size_t>(tensor.shape[0]));
    tensor.shape[0] = 1;
    return Said(absl::StatusCode::kInvalidArgument);
  }

  std::string Said(absl::StatusCode code) {
    const absl::Status status = Describe();
    EXPECT_THAT(status, HasCode(code));
    EXPECT_THAT(std::string(Message(status)), HasSubstr(folder_.path().string()));
    return std::string(Message(status));
  }

  absl::Status Describe() {
    RETURN_IF_ERROR(WriteSafetensors(folder_.path() / kSingleWeightsFile, tensors_, {}));
    return DescribeBaseModel(folder_.path()).status();
  }

  testing::TemporaryDirectory folder_;
  std::filesystem::path golden_;
  std::optional<SafetensorsFile> file_;
  std::vector<TensorView> tensors_;
};

TEST_F(ModelWeightsTest, EveryGoldenModelHasItsWeights) {
  for (const char* name : {"llama_bias", "llama_gqa", "llama_mha", "model_a", "moe_a", "moe_b",
                           "v2_bias", "v32", "v3_a", "v3_b", "v3_fp8"}) {
    Copy(name);
    EXPECT_THAT(Describe(), IsOk()) << name;
  }
}

TEST_F(ModelWeightsTest, NamesAVectorThatIsMissingOrOfAnotherSize) {
  Copy("v3_b");
  for (const char* name :
       {"model.norm.weight", "model.layers.1.input_layernorm.weight",
        "model.layers.0.post_attention_layernorm.weight",
        "model.layers.2.self_attn.q_a_layernorm.weight",
        "model.layers.2.self_attn.kv_a_layernorm.weight",
        "model.layers.1.mlp.gate.e_score_correction_bias", "model.embed_tokens.weight"}) {
    EXPECT_THAT(Without(name), HasSubstr(std::string("has no tensor ") + name));
    EXPECT_THAT(Shortened(name), HasSubstr(std::string("tensor ") + name + " is [1"));
  }
}

TEST_F(ModelWeightsTest, NamesScalesOfEightBitWeightsThatAreMissingOrOfAnotherShape) {
  Copy("v3_fp8");
  const std::string scales = "model.layers.1.mlp.experts.3.up_proj.weight_scale_inv";
  EXPECT_THAT(Without(scales), HasSubstr("has no tensor " + scales));
  tensors_ = file_->tensors();
  Tensor(scales).shape.push_back(1);
  EXPECT_THAT(Said(absl::StatusCode::kInvalidArgument), HasSubstr("tensor " + scales + " is ["));
}

TEST_F(ModelWeightsTest, RefusesARouterInEightBitsWhichIsReadWithoutScales) {
  Copy("v3_fp8");
  TensorView& gate = Tensor("model.layers.1.mlp.gate.weight");
  const auto values = static_cast<size_t>(gate.value_count());
  gate.type = TensorType::kF8E4M3;
  gate.bytes = gate.bytes.first(values);
  EXPECT_THAT(Said(absl::StatusCode::kInvalidArgument),
              HasSubstr("mlp.gate.weight has values of type F8_E4M3; BF16, F16 or F32 is needed"));
}

TEST_F(ModelWeightsTest, FindsATiedEmbeddingUnderTheHeadsName) {
  Copy("llama_gqa");
  Tensor("model.embed_tokens.weight").name = "lm_head.weight";
  EXPECT_THAT(Describe(), IsOk());
}

}  // namespace
}  // namespace fedtune
