// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fedtune {

// The two LoRA factors of one linear layer (Hu et al., 2021):
//   y = x W^T + scale * (x A^T) B^T,  A: [lora_rank, in], B: [out, lora_rank].
enum class Factor : uint8_t { kA = 1, kB = 2 };

// Which factors a round trains and averages.
enum class FactorSet : uint8_t { kA = 1, kB = 2, kBoth = 3 };

bool Contains(FactorSet set, Factor factor);

// One adapted linear layer.
struct AdapterModule {
  std::string name;  // As in the checkpoint: "model.layers.0.self_attn.q_proj".
  int64_t in_features = 0;
  int64_t out_features = 0;
  int64_t lora_rank = 0;
  double alpha = 0;

  double scale() const { return alpha / static_cast<double>(lora_rank); }

  friend bool operator==(const AdapterModule&, const AdapterModule&) = default;
};

// One factor of one module inside the flat vector.
struct AdapterTensor {
  int64_t module_index = 0;
  Factor factor = Factor::kA;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t offset = 0;  // In values, from the start of the flat vector.

  int64_t size() const { return rows * columns; }
};

// How an adapter lies in one flat vector of fp32 values: module after module
// in the order given, A before B, each row-major. Coordinator and clients agree
// on a layout by its digest (the SHA-256 of ToJson()). Immutable.
class AdapterLayout {
 public:
  AdapterLayout() = default;

  // INVALID_ARGUMENT: no module, a name twice or with other than printable
  // characters, a size below 1 or above 2^31, a rank below 1 or above 4096 and both
  // sizes, an alpha that is not positive, or more than 2^40 values.
  static absl::StatusOr<AdapterLayout> Create(std::vector<AdapterModule> modules);

  // INVALID_ARGUMENT: not what ToJson() writes.
  static absl::StatusOr<AdapterLayout> FromJson(std::string_view json);

  // Canonical: equal layouts give equal bytes.
  std::string ToJson() const;

  const std::vector<AdapterModule>& modules() const { return modules_; }

  // Two for each module, in flat order.
  const std::vector<AdapterTensor>& tensors() const { return tensors_; }

  int64_t parameter_count() const { return parameter_count_; }

  // Values that belong to `factors`.
  int64_t parameter_count(FactorSet factors) const;

  friend bool operator==(const AdapterLayout& a, const AdapterLayout& b) {
    return a.modules_ == b.modules_;
  }

 private:
  // Puts `tensor` behind the others. INVALID_ARGUMENT: there would be too many values.
  absl::Status Append(AdapterTensor tensor);

  std::vector<AdapterModule> modules_;
  std::vector<AdapterTensor> tensors_;
  int64_t parameter_count_ = 0;
};

}  // namespace fedtune
