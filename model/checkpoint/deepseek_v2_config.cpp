// SPDX-License-Identifier: Apache-2.0

#include "fmt/format.h"
#include "model/checkpoint/architectures.h"

namespace fedtune {
namespace {

const MoeConfig kUsual = {
    .routed_expert_count = 64, .shared_expert_count = 2, .expert_width = 1407};

void ReadRouter(ConfigReader& reader, MoeConfig& moe) {
  reader.Defaulted("routed_scaling_factor", moe.routed_scaling_factor, {1e-6, 1e6});
  // As in transformers, where only DeepSeek's own code would divide by the sum: no model of
  // theirs asks for that.
  moe.normalize_weights = false;
  const RouterWords words = ReadRouterWords(reader, {"softmax", "greedy"});
  reader.Require(words.scoring == "softmax", "scoring_func",
                 fmt::format("is \"{}\"; this architecture has \"softmax\"", words.scoring));
  if (words.method == "group_limited_greedy") {
    moe.choice = ExpertChoice::kGroupLimitedGreedy;
    for (const char* key : {"n_group", "topk_group"}) {
      reader.Require(reader.Find(key) != nullptr, key, "is missing");
    }
    return ReadExpertGroups(reader, moe, /*least_size=*/1);
  }
  reader.Require(words.method == "greedy", "topk_method",
                 fmt::format("is \"{}\"; \"greedy\" and \"group_limited_greedy\" are supported",
                             words.method));
}

}  // namespace

ModelConfig ReadDeepseekV2Config(ConfigReader& reader) {
  ModelConfig config = ReadCommonConfig(reader, /*usual_context=*/2048);
  reader.Optional("mlp_bias", config.mlp_bias);
  config.attention = ReadMlaConfig(reader, config);
  config.moe = ReadExperts(reader, config, kUsual);
  if (config.moe.routed_expert_count > 0) ReadRouter(reader, config.moe);
  ReadRopeConfig(reader, RotaryPairs::kNeighbours, config);
  return config;
}

}  // namespace fedtune
