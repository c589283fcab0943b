// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/one_model.h"

#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/checkpoint/safetensors_writer.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::IsOk;

constexpr int64_t kVocabulary = 64;
constexpr int64_t kHidden = 64;

// Two layers, and whatever a test adds to their checkpoint.
class OneModelTest : public ::testing::Test {
 protected:
  OneModelTest() {
    config_.layer_count = 2;
    config_.hidden_size = kHidden;
    config_.vocabulary_size = kVocabulary;
    config_.dense_width = 2;
    config_.tie_embeddings = true;
    config_.attention = GqaConfig{1, 2};
    Add("model.layers.0.input_layernorm.weight");
    Add("model.layers.1.input_layernorm.weight");
    Add("model.embed_tokens.weight");
  }

  std::vector<float>& Add(std::string name) {
    values_.emplace_back(kVocabulary * kHidden, 0.5F);
    tensors_.push_back({std::move(name), TensorType::kF32, {kVocabulary, kHidden}, {}});
    return values_.back();
  }

  // As many bytes, but of another type.
  void AddOfType(std::string name, TensorType type) {
    Add(std::move(name));
    tensors_.back().type = type;
    tensors_.back().shape = {kVocabulary * kHidden * 4 / BytesPerValue(type)};
  }

  absl::Status Check() {
    for (size_t i = 0; i < tensors_.size(); ++i) {
      tensors_[i].bytes = std::as_bytes(std::span(values_[i]));
    }
    absl::Status written = WriteSafetensors(folder_.path() / kSingleWeightsFile, tensors_, {});
    if (!written.ok()) return written;
    const auto checkpoint = Checkpoint::Open(folder_.path());
    return checkpoint.ok() ? CheckOneModel(config_, *checkpoint) : checkpoint.status();
  }

  std::string Error() { return std::string(Check().message()); }

  std::filesystem::path folder() const { return folder_.path(); }

  ModelConfig config_;

 private:
  const testing::TemporaryDirectory folder_;
  std::vector<std::vector<float>> values_;
  std::vector<TensorView> tensors_;
};

TEST_F(OneModelTest, LeavesOutWhatChangesNothing) {
  Add("model.layers.0.self_attn.rotary_emb.inv_freq");
  Add("model.layers.x.weight");
  Add("vision.weight");
  EXPECT_THAT(Check(), IsOk());
}

TEST_F(OneModelTest, RefusesALayerBeyondTheLast) {
  Add("model.layers.2.mlp.up_proj.weight");
  EXPECT_THAT(Error(), AllOf(HasSubstr("num_hidden_layers is 2"),
                             HasSubstr("model.layers.2.mlp.up_proj.weight")));
}

TEST_F(OneModelTest, LeavesOutLayersForMultiTokenPrediction) {
  config_.prediction_layers = 1;
  Add("model.layers.2.mlp.up_proj.weight");
  EXPECT_THAT(Check(), IsOk());
  Add("model.layers.3.mlp.up_proj.weight");
  EXPECT_THAT(Error(), HasSubstr("model.layers.3.mlp.up_proj.weight"));
}

TEST_F(OneModelTest, RefusesABiasOfWhichTheConfigurationSaysNothing) {
  Add("model.layers.1.self_attn.q_proj.bias");
  EXPECT_THAT(Error(), HasSubstr("model.layers.1.self_attn.q_proj.bias"));
  config_.attention_bias = true;
  EXPECT_THAT(Check(), IsOk());
}

TEST_F(OneModelTest, RefusesSharedExpertsThatAreNotCounted) {
  Add("model.layers.1.mlp.shared_experts.up_proj.weight");
  EXPECT_THAT(Error(), AllOf(HasSubstr("n_shared_experts"),
                             HasSubstr("model.layers.1.mlp.shared_experts.up_proj.weight")));
  config_.moe.shared_expert_count = 1;
  EXPECT_THAT(Check(), IsOk());
}

TEST_F(OneModelTest, SaysWhatToDoWithExpertsInOneTensor) {
  Add("model.layers.1.mlp.experts.gate_up_proj");
  EXPECT_THAT(Error(), AllOf(HasSubstr("model.layers.1.mlp.experts.gate_up_proj has all experts"),
                             HasSubstr("save_pretrained()")));
}

TEST_F(OneModelTest, NamesAWeightOfATypeThatWeDoNotComputeWith) {
  AddOfType("model.layers.1.mlp.gate.e_score_correction_bias", TensorType::kF64);
  EXPECT_THAT(Error(),
              AllOf(HasSubstr("/model.safetensors: tensor model.layers.1.mlp.gate.e_score"),
                    HasSubstr("has values of type F64; weights must be BF16, F16 or F32"),
                    HasSubstr("from_pretrained(dtype=...)")));
}

TEST_F(OneModelTest, TakesWeightsOf8BitsWhereTheConfigurationSaysWhatTheyAre) {
  AddOfType("model.layers.1.mlp.up_proj.weight", TensorType::kF8E4M3);
  EXPECT_THAT(Error(), HasSubstr("model.layers.1.mlp.up_proj.weight has values of type F8_E4M3"));
  config_.fp8_blocks = Fp8Blocks();
  EXPECT_THAT(Check(), IsOk());
}

TEST_F(OneModelTest, NamesScalesOfATypeThatWeDoNotComputeWith) {
  config_.fp8_blocks = Fp8Blocks();
  AddOfType("model.layers.1.mlp.up_proj.weight_scale_inv", TensorType::kBF16);
  EXPECT_THAT(Check(), IsOk());
  AddOfType("model.layers.1.mlp.down_proj.weight_scale_inv", TensorType::kF8E4M3);
  EXPECT_THAT(Error(), HasSubstr("down_proj.weight_scale_inv has values of type F8_E4M3"));
}

TEST_F(OneModelTest, KnowsALayerOfAModelThatWasSavedWithoutItsHead) {
  Add("layers.2.mlp.up_proj.weight");
  EXPECT_THAT(Error(),
              AllOf(HasSubstr("num_hidden_layers is 2"), HasSubstr("layers.2.mlp.up_proj.weight")));
}

TEST_F(OneModelTest, DoesNotMindTheTypeOfWhatIsLeftOut) {
  AddOfType("model.layers.0.self_attn.mask", TensorType::kBool);
  AddOfType("vision.weight", TensorType::kF64);
  EXPECT_THAT(Check(), IsOk());
}

TEST_F(OneModelTest, RefusesAnAdapterBesideTheWeights) {
  ASSERT_THAT(WriteFileAtomically(folder() / "adapter_config.json", "{}"), IsOk());
  EXPECT_THAT(Error(), AllOf(HasSubstr(folder().string()), HasSubstr("(adapter_config.json)"),
                             HasSubstr("move it to a folder of its own")));
}

TEST_F(OneModelTest, RefusesAModelWithoutAHead) {
  config_.tie_embeddings = false;
  EXPECT_THAT(Error(),
              AllOf(HasSubstr("has no tensor lm_head.weight"), HasSubstr("(tie_word_embeddings)")));
  Add("lm_head.weight");
  EXPECT_THAT(Check(), IsOk());
}

TEST_F(OneModelTest, TakesATiedHeadThatIsStoredTwice) {
  Add("lm_head.weight");
  EXPECT_THAT(Check(), IsOk());
}

TEST_F(OneModelTest, RefusesATiedHeadOfItsOwn) {
  Add("lm_head.weight").back() = 1;
  EXPECT_THAT(Error(), AllOf(HasSubstr("tie_word_embeddings is true"),
                             HasSubstr("lm_head.weight that differs from model.embed_tokens")));
}

}  // namespace
}  // namespace fedtune
