// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fedtune {

// The name of a projection of a routed expert, in parts:
// "model.layers.1.mlp.experts.7.gate_proj".
struct ExpertName {
  std::string experts;  // "model.layers.1.mlp.experts"
  int64_t index = 0;
  std::string projection;

  // Nothing when `module` is no projection of a routed expert.
  static std::optional<ExpertName> Parse(std::string_view module);

  // Gate and up are one parameter when experts are fused, down is another.
  bool IsGateOrUp() const { return projection != "down_proj"; }
  std::string FusedParameter() const {
    return experts + (IsGateOrUp() ? ".gate_up_proj" : ".down_proj");
  }
};

}  // namespace fedtune
