// SPDX-License-Identifier: Apache-2.0

#include "fmt/format.h"
#include "model/checkpoint/architectures.h"

namespace fedtune {
namespace {

void ReadRouter(ConfigReader& reader, MoeConfig& moe) {
  reader.Optional("routed_scaling_factor", moe.routed_scaling_factor, {1e-6, 1e6});
  const RouterWords words = ReadRouterWords(reader, {"softmax", "greedy"});
  reader.Require(words.scoring == "softmax", "scoring_func",
                 fmt::format("is \"{}\"; this architecture has \"softmax\"", words.scoring));
  if (words.method == "group_limited_greedy") {
    moe.choice = ExpertChoice::kGroupLimitedGreedy;
    return ReadExpertGroups(reader, moe, /*least_size=*/1);
  }
  reader.Require(words.method == "greedy", "topk_method",
                 fmt::format("is \"{}\"; \"greedy\" and \"group_limited_greedy\" are supported",
                             words.method));
}

}  // namespace

ModelConfig ReadDeepseekV2Config(ConfigReader& reader) {
  ModelConfig config;
  ReadCommonConfig(reader, config);
  config.attention = ReadMlaConfig(reader, config);
  config.moe = ReadExperts(reader, config);
  if (config.moe.routed_expert_count > 0) ReadRouter(reader, config.moe);
  config.rope = ReadRopeConfig(reader, RotaryPairs::kNeighbours);
  return config;
}

}  // namespace fedtune
