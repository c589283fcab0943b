// SPDX-License-Identifier: Apache-2.0

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "model/checkpoint/model_config.h"

// Whatever config.json says, what is accepted has layers of sane sizes.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  const auto config = fedtune::ParseModelConfig(json, "fuzz");
  if (!config.ok()) return 0;
  if (config->layer_count * config->moe.routed_expert_count > 4096) return 0;  // Only slow.
  for (const fedtune::LinearLayer& layer : fedtune::LinearLayers(*config)) {
    fedtune::Check(layer.in_features > 0 && layer.in_features <= int64_t{1} << 30, "in");
    fedtune::Check(layer.out_features > 0 && layer.out_features <= int64_t{1} << 30, "out");
  }
  return 0;
}
