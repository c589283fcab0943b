// SPDX-License-Identifier: Apache-2.0

#include <algorithm>

#include "fmt/format.h"
#include "model/checkpoint/architectures.h"

namespace fedtune {
namespace {

void ReadRouter(ConfigReader& reader, MoeConfig& moe) {
  moe.scores = RouterScores::kSigmoid;
  moe.choice = ExpertChoice::kBiasedGroups;
  moe.weight_scaling = WeightScaling::kNormalizeAndScale;
  // Without it transformers takes 2.5, and DeepSeek's own code 1.
  reader.Required("routed_scaling_factor", moe.routed_scaling_factor, {1e-6, 1e6});
  moe.normalize_weights = true;
  reader.Optional("norm_topk_prob", moe.normalize_weights);
  const RouterWords words = ReadRouterWords(reader, {"sigmoid", "noaux_tc"});
  reader.Require(words.scoring == "sigmoid", "scoring_func",
                 fmt::format("is \"{}\"; this architecture has \"sigmoid\"", words.scoring));
  reader.Require(words.method == "noaux_tc", "topk_method",
                 fmt::format("is \"{}\"; this architecture has \"noaux_tc\"", words.method));
  ReadExpertGroups(reader, moe, /*least_size=*/2);
}

ModelConfig ReadCommon(ConfigReader& reader, RotaryPairs pairs) {
  ModelConfig config;
  ReadCommonConfig(reader, config);
  config.attention = ReadMlaConfig(reader, config);
  config.moe = ReadExperts(reader, config);
  if (config.moe.routed_expert_count > 0) ReadRouter(reader, config.moe);
  config.rope = ReadRopeConfig(reader, pairs);
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
  return ReadCommon(reader, interleaved ? RotaryPairs::kNeighbours : RotaryPairs::kHalves);
}

// Attention is sparse: an indexer chooses `index_topk` tokens for each token to look
// at. Up to so many tokens it chooses all, and the model is a V3.
ModelConfig ReadDeepseekV32Config(ConfigReader& reader) {
  ModelConfig config = ReadCommon(reader, RotaryPairs::kNeighbours);
  int64_t chosen = 2048;
  reader.Optional("index_topk", chosen, {1, 1 << 30});
  config.context_length = std::min(config.context_length, chosen);
  CheckLayerTypes(reader, config);
  return config;
}

}  // namespace fedtune
