// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string_view>

#include "aggregation/adapter_layout.h"

namespace fedtune {

// What peft calls the files of an adapter, and the factors in them: the factor A of
// "model.layers.0.mlp.up_proj" is
// "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight".
inline constexpr char kPeftConfigFile[] = "adapter_config.json";
inline constexpr char kPeftWeightsFile[] = "adapter_model.safetensors";
inline constexpr std::string_view kPeftPrefix = "base_model.model.";

inline std::string_view PeftSuffixOf(Factor factor) {
  return factor == Factor::kA ? ".lora_A.weight" : ".lora_B.weight";
}

}  // namespace fedtune
