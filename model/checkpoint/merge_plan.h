// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregation/adapter_layout.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/model_config.h"
#include "model/checkpoint/safetensors_writer.h"
#include "model/checkpoint/tensor_type.h"

namespace fedtune {

// What is added to one weight.
struct LowRankUpdate {
  const AdapterModule* module = nullptr;
  std::span<const float> a;  // [lora_rank, in_features]
  std::span<const float> b;  // [out_features, lora_rank]
};

// What becomes of each tensor of a checkpoint when an adapter is merged into it.
//
// A weight in blocks of FP8 becomes bf16. Rounded to FP8 again, most of a LoRA
// update would be gone: it is smaller than the 6 % by which neighbours differ there.
// transformers and vLLM load such a checkpoint where quantization_config names the
// layer in modules_to_not_convert, and vLLM only if everything that it computes
// together is of one type: gate_proj and up_proj, q_a_proj and kv_a_proj_with_mqa, q,
// k and v_proj, and all routed experts of a layer. These are widened with the layer.
// The scales of what is widened go.
class MergePlan {
 public:
  // Checkpoint, layout and values must outlive the plan.
  //
  // NOT_FOUND: a layer that the checkpoint does not have. INVALID_ARGUMENT: a weight
  // of another shape than the layer's, or of a type that is not F32, F16, BF16 or
  // FP8 in blocks (E4M3).
  static absl::StatusOr<MergePlan> Create(const Checkpoint& checkpoint, const AdapterLayout& layout,
                                          std::span<const float> values);

  // The tensors that the merged shard has.
  std::vector<TensorInfo> TensorsOf(const SafetensorsFile& shard) const;

  // Null for a tensor to which nothing is added.
  const LowRankUpdate* UpdateOf(std::string_view tensor) const;

  // Whether it is a weight in blocks of FP8 that becomes bf16.
  bool Widens(std::string_view tensor) const { return widened_.contains(tensor); }

  // Whether it is the scales of such a weight, which go.
  bool Drops(std::string_view tensor) const;

  // Of the weights that are widened. Requires: some are.
  const Fp8Blocks& blocks() const { return *blocks_; }

  // What is in the files of the merged checkpoint that are not those of the base, by
  // name: the configuration and the index, if weights are widened. Errors of reading
  // them.
  absl::StatusOr<std::map<std::string, std::string>> ChangedFiles() const;

 private:
  explicit MergePlan(const Checkpoint& checkpoint) : checkpoint_(&checkpoint) {}

  absl::StatusOr<TensorType> CheckWeight(const std::string& name,
                                         const LowRankUpdate& update) const;
  absl::Status Widen(const std::string& weight);
  absl::Status CheckScales() const;
  absl::StatusOr<std::string> Config() const;
  absl::StatusOr<std::string> Index() const;
  std::set<std::string> UnconvertedModules(bool has_list) const;

  const Checkpoint* checkpoint_;
  // By the name under which the weight is stored.
  std::map<std::string, LowRankUpdate, std::less<>> updates_;
  std::set<std::string, std::less<>> widened_;
  std::optional<Fp8Blocks> blocks_;
};

}  // namespace fedtune
