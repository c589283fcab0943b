// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/architectures.h"

namespace fedtune {

ModelConfig ReadLlamaConfig(ConfigReader& reader) {
  ModelConfig config;
  ReadCommonConfig(reader, config);
  config.attention = ReadGqaConfig(reader, config);
  config.rope = ReadRopeConfig(reader, RotaryPairs::kHalves);
  return config;
}

}  // namespace fedtune
