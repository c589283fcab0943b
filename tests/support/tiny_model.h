// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "plan/adapter_targets.h"
#include "privacy/crypto/sha256.h"

namespace fedtune::testing {

// The description of a model named "tiny", whose attention has 2 x 3 weights: its
// adapter of rank 1 for q_proj has five values.
inline std::string TinyModelJson() {
  BaseModelDescription model;
  model.name = "tiny";
  model.digest = Sha256Of("tiny").ToString();
  model.model_type = "deepseek_v2";
  model.parameter_count = 6;
  model.linear_layers = {{.name = "model.layers.0.self_attn.q_proj",
                          .kind = LayerKind::kAttention,
                          .in_features = 3,
                          .out_features = 2}};
  return ToJson(model);
}

}  // namespace fedtune::testing
