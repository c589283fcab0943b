// SPDX-License-Identifier: Apache-2.0

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "model/checkpoint/peft_config.h"

// Whatever adapter_config.json says, ranks are positive.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  const auto config = fedtune::ParsePeftConfig(json, "fuzz");
  if (!config.ok()) return 0;
  for (const char* module : {"model.layers.0.self_attn.q_proj", "m.mlp.experts.3.gate_proj"}) {
    fedtune::Check(config->RankOf(module) >= 1, "rank");
    fedtune::Check(config->AlphaOf(module) >= 0, "alpha");
  }
  return 0;
}
