// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstdint>
#include <string>
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

ModelConfig ReadLlamaConfig(ConfigReader& reader);        // DeepSeek-LLM and other Llamas.
ModelConfig ReadDeepseekConfig(ConfigReader& reader);     // DeepSeekMoE-16B.
ModelConfig ReadDeepseekV2Config(ConfigReader& reader);   // V2, V2-Lite.
ModelConfig ReadDeepseekV3Config(ConfigReader& reader);   // V3, R1, V3.1, Moonlight.
ModelConfig ReadDeepseekV32Config(ConfigReader& reader);  // V3.2, as far as it is dense.

inline constexpr std::array kArchitectures = {
    Architecture{"llama", ReadLlamaConfig},
    Architecture{"deepseek", ReadDeepseekConfig},
    Architecture{"deepseek_v2", ReadDeepseekV2Config},
    Architecture{"deepseek_v3", ReadDeepseekV3Config},
    Architecture{"deepseek_v32", ReadDeepseekV32Config},
};

// A field that a config.json leaves out is what transformers takes it for, or, for
// DeepSeekMoE, its own code, unless it is a size that everything depends on.

// What the architectures share: sizes, vocabulary, tokens, embeddings, epsilon,
// how weights are quantised. `usual_context` is the context that goes without saying.
ModelConfig ReadCommonConfig(ConfigReader& reader, int64_t usual_context);

// `rope_theta` with `rope_scaling`, or `rope_parameters`. `config` has the common part and
// its attention; a scaling that is computed in a part of the context alone narrows it to that.
void ReadRopeConfig(ConfigReader& reader, RotaryPairs pairs, ModelConfig& config);

// Attention; `config` has the common part.
MlaConfig ReadMlaConfig(ConfigReader& reader, const ModelConfig& config);
GqaConfig ReadGqaConfig(ConfigReader& reader, const ModelConfig& config);

// How many experts there are, of which size, and where; `config` has the common
// part, `usual` what goes without saying: how many experts a token has must be said
// where that is 0. How tokens come to them is the architecture's own affair, from
// ReadRouterWords() to ReadExpertGroups().
MoeConfig ReadExperts(ConfigReader& reader, const ModelConfig& config, const MoeConfig& usual);

// The words of `scoring_func` and `topk_method`; an absent one is that of `usual`.
struct RouterWords {
  std::string scoring;
  std::string method;
};
RouterWords ReadRouterWords(ConfigReader& reader, const RouterWords& usual);

// `n_group` and `topk_group`; a group must have at least `least_size` experts.
void ReadExpertGroups(ConfigReader& reader, MoeConfig& moe, int64_t least_size);

}  // namespace fedtune
