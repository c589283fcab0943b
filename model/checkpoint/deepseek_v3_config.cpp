// SPDX-License-Identifier: Apache-2.0

#include <algorithm>

#include "fmt/format.h"
#include "model/checkpoint/architectures.h"

namespace fedtune {
namespace {

const MoeConfig kUsual = {.routed_expert_count = 256,
                          .shared_expert_count = 1,
                          .experts_per_token = 8,
                          .expert_width = 2048,
                          .first_dense_layers = 3,
                          .scores = RouterScores::kSigmoid,
                          .choice = ExpertChoice::kBiasedGroups,
                          .group_count = 8,
                          .groups_per_token = 4,
                          .normalize_weights = true,
                          .weight_scaling = WeightScaling::kNormalizeAndScale,
                          .routed_scaling_factor = 2.5};

void ReadRouter(ConfigReader& reader, MoeConfig& moe) {
  reader.Defaulted("routed_scaling_factor", moe.routed_scaling_factor, {1e-6, 1e6});
  const RouterWords words = ReadRouterWords(reader, {"sigmoid", "noaux_tc"});
  reader.Require(words.scoring == "sigmoid", "scoring_func",
                 fmt::format("is \"{}\"; this architecture has \"sigmoid\"", words.scoring));
  reader.Require(words.method == "noaux_tc", "topk_method",
                 fmt::format("is \"{}\"; this architecture has \"noaux_tc\"", words.method));
  ReadExpertGroups(reader, moe, /*least_size=*/2);
}

ModelConfig ReadCommon(ConfigReader& reader, RotaryPairs pairs, int64_t usual_context) {
  ModelConfig config = ReadCommonConfig(reader, usual_context);
  config.attention = ReadMlaConfig(reader, config);
  config.moe = ReadExperts(reader, config, kUsual);
  if (config.moe.routed_expert_count > 0) ReadRouter(reader, config.moe);
  ReadRopeConfig(reader, pairs, config);
  config.prediction_layers = 1;
  reader.Optional("num_nextn_predict_layers", config.prediction_layers, {0, 100});
  return config;
}

// A list of "dense" and "sparse", where there is one, says what the numbers say.
void CheckLayerTypes(ConfigReader& reader, const ModelConfig& config) {
  const nlohmann::json* types = reader.Find("mlp_layer_types");
  if (types == nullptr || !reader.ok()) return;
  bool agrees = types->is_array() && std::ssize(*types) == config.layer_count;
  for (int64_t layer = 0; agrees && layer < config.layer_count; ++layer) {
    agrees =
        (*types)[static_cast<size_t>(layer)] == (config.IsMoeLayer(layer) ? "sparse" : "dense");
  }
  reader.Require(agrees, "mlp_layer_types", "contradicts first_k_dense_replace");
}

}  // namespace

ModelConfig ReadDeepseekV3Config(ConfigReader& reader) {
  bool interleaved = true;
  reader.Optional("rope_interleave", interleaved);
  return ReadCommon(reader, interleaved ? RotaryPairs::kNeighbours : RotaryPairs::kHalves,
                    /*usual_context=*/4096);
}

// Attention is sparse: an indexer chooses `index_topk` tokens for each token to look
// at. Up to so many tokens it chooses all, and the model is a V3.
ModelConfig ReadDeepseekV32Config(ConfigReader& reader) {
  ModelConfig config = ReadCommon(reader, RotaryPairs::kNeighbours, /*usual_context=*/163840);
  int64_t chosen = 2048;
  reader.Optional("index_topk", chosen, {1, 1 << 30});
  config.context_length = std::min(config.context_length, chosen);
  CheckLayerTypes(reader, config);
  return config;
}

}  // namespace fedtune
