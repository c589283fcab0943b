// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/architectures.h"

namespace fedtune {

ModelConfig ReadLlamaConfig(ConfigReader& reader) {
  ModelConfig config = ReadCommonConfig(reader, /*usual_context=*/2048);
  reader.Optional("mlp_bias", config.mlp_bias);
  config.attention = ReadGqaConfig(reader, config);
  ReadRopeConfig(reader, RotaryPairs::kHalves, config);
  return config;
}

}  // namespace fedtune
