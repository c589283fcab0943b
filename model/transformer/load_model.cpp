// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/load_model.h"

#include <string>
#include <utility>

#include "ATen/ops/empty.h"
#include "ATen/ops/from_blob.h"
#include "absl/container/flat_hash_map.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/checkpoint/model_weights.h"
#include "model/checkpoint/one_model.h"
#include "model/checkpoint/widened_weights.h"
#include "model/transformer/grouped_experts.h"
#include "model/transformer/matrix_products.h"
#include "model/transformer/rotary.h"
#include "model/transformer/weight_reader.h"

namespace fedtune {
namespace {

// Puts a model's layers together from a checkpoint's weights.
class ModelBuilder {
 public:
  ModelBuilder(const ModelConfig& config, const Checkpoint& checkpoint, at::Device device,
               ModelForm form)
      : config_(config),
        checkpoint_(checkpoint),
        reader_(checkpoint, device),
        linear_layers_(LinearLayers(config)),
        form_(form) {
    for (size_t i = 0; i < linear_layers_.size(); ++i) index_[linear_layers_[i].name] = i;
    if (form_ == ModelForm::kForGpu) {
      weight_type_ = at::kBFloat16;
    } else if (checkpoint.parameter_count() <= kMaxWidenedParameters) {
      weight_type_ = at::kFloat;
    }
    const bool is_small = checkpoint.parameter_count() < kMaxExactParameters;
    keeps_bf16_ = HasMatrixKernels() && form_ != ModelForm::kForGpu &&
                  (!is_small || form_ == ModelForm::kForCpuInBf16);
  }

  absl::StatusOr<Model> Build() {
    Model model;
    model.config = config_;
    model.embedding = TakeWeight(EmbeddingName(config_, checkpoint_),
                                 {config_.vocabulary_size, config_.hidden_size});
    for (int64_t i = 0; i < config_.layer_count && reader_.status().ok(); ++i) {
      model.layers.push_back(TakeLayer(i));
    }
    model.norm = TakeNorm("model.norm", config_.hidden_size);
    model.head = config_.tie_embeddings ? Linear{model.embedding, -1, rounds_inputs()}
                                        : TakeLinear("lm_head");
    RETURN_IF_ERROR(reader_.status());
    model.linear_layers = std::move(linear_layers_);
    model.rotary_frequencies = TakeFrequencies(model.device());
    model.compute_type = compute_type();
    return model;
  }

 private:
  DecoderLayer TakeLayer(int64_t index) {
    const std::string name = fmt::format("model.layers.{}.", index);
    DecoderLayer layer;
    layer.attention_norm = TakeNorm(name + "input_layernorm", config_.hidden_size);
    layer.attention = TakeAttention(name + "self_attn.");
    layer.mlp_norm = TakeNorm(name + "post_attention_layernorm", config_.hidden_size);
    if (config_.IsMoeLayer(index)) {
      layer.mlp = TakeMoe(name + "mlp.");
    } else {
      layer.mlp = TakeMlp(name + "mlp.");
    }
    return layer;
  }

  AttentionWeights TakeAttention(const std::string& name) {
    AttentionWeights weights;
    if (const auto* mla = std::get_if<MlaConfig>(&config_.attention)) {
      weights.heads = TakeMla(name, *mla);
    } else {
      weights.heads = GqaWeights{TakeLinear(name + "q_proj"), TakeLinear(name + "k_proj"),
                                 TakeLinear(name + "v_proj")};
    }
    weights.o_proj = TakeLinear(name + "o_proj");
    return weights;
  }

  MlaWeights TakeMla(const std::string& name, const MlaConfig& mla) {
    MlaWeights weights;
    if (mla.q_lora_rank == 0) {
      weights.q_proj = TakeLinear(name + "q_proj");
    } else {
      weights.q_a_proj = TakeLinear(name + "q_a_proj");
      weights.q_a_norm = TakeNorm(name + "q_a_layernorm", mla.q_lora_rank);
      weights.q_b_proj = TakeLinear(name + "q_b_proj");
    }
    weights.kv_a_proj = TakeLinear(name + "kv_a_proj_with_mqa");
    weights.kv_a_norm = TakeNorm(name + "kv_a_layernorm", mla.kv_lora_rank);
    weights.kv_b_proj = TakeLinear(name + "kv_b_proj");
    return weights;
  }

  MlpWeights TakeMlp(const std::string& name) {
    return {TakeLinear(name + "gate_proj"), TakeLinear(name + "up_proj"),
            TakeLinear(name + "down_proj")};
  }

  MoeWeights TakeMoe(const std::string& name) {
    MoeWeights weights;
    weights.gate = TakeLinear(name + "gate");
    if (config_.moe.choice == ExpertChoice::kBiasedGroups) {
      weights.choice_bias = reader_.Take(name + "gate.e_score_correction_bias",
                                         {config_.moe.routed_expert_count}, at::kFloat);
    }
    for (int64_t i = 0; i < config_.moe.routed_expert_count; ++i) {
      weights.experts.push_back(TakeMlp(fmt::format("{}experts.{}.", name, i)));
    }
    if (config_.moe.shared_expert_count > 0) weights.shared = TakeMlp(name + "shared_experts.");
    if (CanGroupExperts() && reader_.status().ok()) GroupExperts(weights);
    return weights;
  }

  bool CanGroupExperts() const {
    return form_ == ModelForm::kForGpu &&
           CanGroup(config_.moe.routed_expert_count, config_.moe.expert_width, config_.hidden_size);
  }

  // Moves the experts' weights into one tensor for each grouped product.
  static void GroupExperts(MoeWeights& weights) {
    const at::Tensor& one = weights.experts[0].gate_proj.weight;
    const int64_t width = one.size(0), hidden = one.size(1), count = std::ssize(weights.experts);
    weights.gate_up = at::empty({count, 2 * width, hidden}, one.options());
    weights.down = at::empty({count, hidden, width}, one.options());
    for (int64_t i = 0; i < count; ++i) {
      MlpWeights& expert = weights.experts[static_cast<size_t>(i)];
      const at::Tensor gate_up = weights.gate_up.select(0, i);
      MoveInto(gate_up.narrow(0, 0, width), expert.gate_proj);
      MoveInto(gate_up.narrow(0, width, width), expert.up_proj);
      MoveInto(weights.down.select(0, i), expert.down_proj);
    }
  }

  static void MoveInto(const at::Tensor& place, Linear& linear) {
    place.copy_(linear.weight);
    linear.weight = place;
  }

  Linear TakeLinear(const std::string& name) {
    const size_t index = index_.at(name);
    const LinearLayer& layer = linear_layers_[index];
    const std::vector<int64_t> shape = {layer.out_features, layer.in_features};
    // Routers decide in fp32 everywhere.
    at::Tensor weight = layer.kind == LayerKind::kRouter
                            ? reader_.Take(name + ".weight", shape, at::kFloat)
                            : TakeWeight(name, shape);
    Linear linear = {std::move(weight), static_cast<int64_t>(index), rounds_inputs()};
    if (layer.has_bias) {
      linear.bias = reader_.Take(name + ".bias", {layer.out_features}, compute_type());
    }
    return linear;
  }

  at::Tensor TakeWeight(const std::string& name, const std::vector<int64_t>& shape) {
    if (config_.fp8_blocks) {
      return reader_.TakeScaled(name + ".weight", shape, *config_.fp8_blocks,
                                weight_type_.value_or(at::kBFloat16));
    }
    if (!weight_type_) return reader_.TakeAsStored(name + ".weight", shape);
    return reader_.Take(name + ".weight", shape, StaysBf16(name) ? at::kBFloat16 : *weight_type_);
  }

  at::ScalarType compute_type() const {
    return form_ == ModelForm::kForGpu ? at::kBFloat16 : at::kFloat;
  }

  bool rounds_inputs() const {
    return form_ == ModelForm::kForCpuTraining || form_ == ModelForm::kForCpuInBf16;
  }

  bool StaysBf16(const std::string& name) const {
    if (!keeps_bf16_) return false;
    const absl::StatusOr<TensorView> stored = checkpoint_.Get(name + ".weight");
    return stored.ok() && stored->type == TensorType::kBF16;
  }

  at::Tensor TakeNorm(const std::string& name, int64_t size) {
    return reader_.Take(name + ".weight", {size}, at::kFloat);
  }

  at::Tensor TakeFrequencies(at::Device device) const {
    std::vector<float> values = RotaryFrequencies(config_.rope, config_.rotary_dim());
    const auto size = static_cast<int64_t>(values.size());
    return at::from_blob(values.data(), {size}, at::kFloat).clone().to(device);
  }

  const ModelConfig& config_;
  const Checkpoint& checkpoint_;
  WeightReader reader_;
  std::vector<LinearLayer> linear_layers_;
  const ModelForm form_;
  absl::flat_hash_map<std::string, size_t> index_;
  std::optional<at::ScalarType> weight_type_;  // None: as stored.
  bool keeps_bf16_ = false;                    // Where a weight is stored in it.
};

}  // namespace

absl::StatusOr<Model> LoadModel(const std::filesystem::path& directory, at::Device device) {
  return LoadModel(directory, device, device.is_cpu() ? ModelForm::kForCpu : ModelForm::kForGpu);
}

absl::StatusOr<Model> LoadModel(const std::filesystem::path& directory, at::Device device,
                                ModelForm form) {
  ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(directory));
  ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(directory));
  RETURN_IF_ERROR(CheckOneModel(config, checkpoint));
  ModelBuilder builder(config, checkpoint, device, form);
  ASSIGN_OR_RETURN(Model model, builder.Build());
  model.files = std::make_shared<const Checkpoint>(std::move(checkpoint));
  return model;
}

}  // namespace fedtune
