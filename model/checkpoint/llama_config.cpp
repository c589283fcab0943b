// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/architectures.h"

namespace fedtune {

ModelConfig ReadLlamaConfig(ConfigReader& reader) {
  ModelConfig config = ReadCommonConfig(reader, /*usual_context=*/2048);
  config.attention = ReadGqaConfig(reader, config);
  config.rope = ReadRopeConfig(reader, RotaryPairs::kHalves, config.context_length);
  return config;
}

}  // namespace fedtune
