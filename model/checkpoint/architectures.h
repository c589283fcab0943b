// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <string_view>

#include "model/checkpoint/config_reader.h"
#include "model/checkpoint/model_config.h"

namespace fedtune {

// One architecture that we can run: how its config.json is read. Problems go
// to the reader; the result counts only when there are none.
struct Architecture {
  std::string_view model_type;
  ModelConfig (*read)(ConfigReader& reader);
};

ModelConfig ReadDeepseekV2Config(ConfigReader& reader);

inline constexpr std::array kArchitectures = {
    Architecture{"deepseek_v2", ReadDeepseekV2Config},
};

// What the architectures share: sizes, vocabulary, tokens, embeddings, epsilon.
void ReadCommonConfig(ConfigReader& reader, ModelConfig& config);

// `rope_theta` with `rope_scaling`, or `rope_parameters`.
RopeConfig ReadRopeConfig(ConfigReader& reader);

}  // namespace fedtune
