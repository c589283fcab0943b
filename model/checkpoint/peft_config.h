// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "aggregation/adapter_layout.h"

namespace fedtune {

// What the adapter_config.json of a PEFT LoRA adapter says about its factors.
struct PeftConfig {
  std::string base_model;
  int64_t rank = 8;
  double alpha = 8;
  bool rank_stabilised = false;  // Scale alpha / sqrt(rank).
  // For single modules: their names or ends of them, with ".weight" or without,
  // or the fused parameters of a layer's routed experts.
  std::map<std::string, int64_t> rank_pattern;
  std::map<std::string, double> alpha_pattern;

  // What holds for one module, by its name in the checkpoint. Of several
  // patterns the longest counts.
  int64_t RankOf(std::string_view module) const;

  // The alpha for which alpha / rank is the module's scale.
  double AlphaOf(std::string_view module) const;
};

// INVALID_ARGUMENT: not a LoRA adapter's configuration, or one with parts that
// we do not have: DoRA, biases, whole saved modules, regular expressions.
absl::StatusOr<PeftConfig> ParsePeftConfig(std::string_view json, std::string_view source);

// The adapter_config.json with which peft loads all of `layout`.
//
// INVALID_ARGUMENT: routed experts that peft cannot stack: experts missing
// from the middle, ranks that differ within a layer, gate_proj without up_proj.
absl::StatusOr<std::string> PeftConfigJson(const AdapterLayout& layout,
                                           std::string_view base_model);

}  // namespace fedtune
