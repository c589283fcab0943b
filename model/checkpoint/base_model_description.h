// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace fedtune {

// What part of the model a linear layer belongs to; LoRA targets name these.
enum class LayerKind : uint8_t {
  kAttention,
  kDenseMlp,
  kSharedExpert,
  kRoutedExpert,
  kRouter,
  kHead,
};

// "attention", "dense_mlp", "shared_experts", "routed_experts", "router", "head".
std::string_view ToString(LayerKind kind);

struct LinearLayer {
  std::string name;  // "model.layers.1.mlp.experts.0.gate_proj"
  LayerKind kind = LayerKind::kAttention;
  int64_t in_features = 0;
  int64_t out_features = 0;
  bool has_bias = false;

  friend bool operator==(const LinearLayer&, const LinearLayer&) = default;
};

// The shape of a base model without its weights: all that plans, the
// coordinator and cost estimates need to know of it.
struct BaseModelDescription {
  std::string name;    // The checkpoint folder's name.
  std::string digest;  // "sha256:..." over the checkpoint's files; empty if not computed.
  std::string model_type;
  int64_t parameter_count = 0;
  int64_t weight_bytes = 0;  // On disk.
  bool has_fp16 = false;     // Some linear layers are stored in fp16.
  int64_t layer_count = 0;
  int64_t hidden_size = 0;
  int64_t vocabulary_size = 0;
  int64_t context_length = 0;
  int64_t experts_per_token = 0;  // 0 for a dense model.
  int64_t routed_expert_count = 0;
  std::vector<LinearLayer> linear_layers;  // In the model's order, layer by layer.

  friend bool operator==(const BaseModelDescription&, const BaseModelDescription&) = default;
};

// Reads config.json and the tensors' headers of a Hugging Face checkpoint
// folder; leaves the digest empty.
//
// NOT_FOUND: no such folder or file, or a weight is missing. INVALID_ARGUMENT: not a
// checkpoint, an architecture that is not supported (says which are), or weights that
// are not the configuration's.
absl::StatusOr<BaseModelDescription> DescribeBaseModel(const std::filesystem::path& directory);

std::string ToJson(const BaseModelDescription& description);

// INVALID_ARGUMENT: not what ToJson writes.
absl::StatusOr<BaseModelDescription> BaseModelDescriptionFromJson(std::string_view json);

}  // namespace fedtune
