// SPDX-License-Identifier: Apache-2.0

#include "fmt/format.h"
#include "model/checkpoint/architectures.h"

namespace fedtune {
namespace {

const MoeConfig kUsual = {.expert_width = 1407};

}  // namespace

// A Llama whose MLPs are mixtures of experts (DeepSeekMoE, 2024).
ModelConfig ReadDeepseekConfig(ConfigReader& reader) {
  ModelConfig config = ReadLlamaConfig(reader);
  config.mlp_bias = false;  // Its own code has none, whatever is said.
  config.moe = ReadExperts(reader, config, kUsual);
  const RouterWords words = ReadRouterWords(reader, {"softmax", "greedy"});
  reader.Require(words.scoring == "softmax", "scoring_func",
                 fmt::format("is \"{}\"; this architecture has \"softmax\"", words.scoring));
  reader.Require(words.method == "greedy", "topk_method",
                 fmt::format("is \"{}\"; this architecture has \"greedy\"", words.method));
  return config;
}

}  // namespace fedtune
