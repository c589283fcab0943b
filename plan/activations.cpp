// SPDX-License-Identifier: Apache-2.0

#include "plan/activations.h"

#include <algorithm>
#include <set>
#include <vector>

namespace fedtune {
namespace {

// As the client trains: so many tokens go through the model together, and so many logits,
// but of so many rows at least.
constexpr double kTokensTogether = 8192;
constexpr double kLogitsTogether = 1 << 22;
constexpr double kFewestLogitRows = 128;

// How much more the heap holds than what is alive in it, measured with bench/run.sh train.
// Of GPUs it is a guess.
constexpr double kHeapOverhead = 1.05;
constexpr double kGpuHeapOverhead = 1.3;

// What a token leaves behind for the backward pass in one attention layer's
// projection: inputs of the projections, heads, and what they attended to.
int64_t AttentionValues(const LinearLayer& layer) {
  if (EndsIn(layer, "o_proj")) return 2 * layer.in_features + 2 * layer.out_features;
  if (EndsIn(layer, "kv_b_proj")) return layer.in_features;
  if (EndsIn(layer, "q_b_proj")) return 2 * layer.in_features + 2 * layer.out_features;
  if (EndsIn(layer, "q_proj")) return 2 * layer.out_features;
  return EndsIn(layer, "q_a_proj") ? 0 : layer.out_features;
}

// Whether experts go one after the other, as adapted ones on a GPU and all on a CPU
// without kernels for them: they keep what all of them took and gave.
bool ExpertsGoInTurn(const ActivationsOf& training) {
  if (training.type != ComputeType::kBf16) return true;
  std::set<std::string_view> experts;
  for (const LinearLayer& layer : training.model.linear_layers) {
    if (layer.kind == LayerKind::kRoutedExpert) experts.insert(layer.name);
  }
  const auto& modules = training.layout.modules();
  return std::any_of(modules.begin(), modules.end(),
                     [&](const AdapterModule& module) { return experts.contains(module.name); });
}

// What a token leaves behind in an MLP's projection that it goes through.
double MlpValues(const LinearLayer& layer, bool experts_in_turn) {
  const auto given = static_cast<double>(layer.out_features);
  if (!EndsIn(layer, "down_proj")) return given;
  const bool is_kept =
      layer.kind == LayerKind::kRoutedExpert ? experts_in_turn : layer.kind == LayerKind::kDenseMlp;
  return is_kept ? 2 * given : 0;
}

// Values that one token leaves behind for the backward pass in a linear layer.
double KeptValues(const LinearLayer& layer, const BaseModelDescription& model,
                  bool experts_in_turn) {
  switch (layer.kind) {
    case LayerKind::kAttention:
      return static_cast<double>(AttentionValues(layer));
    case LayerKind::kRouter:
      return static_cast<double>(2 * layer.in_features + layer.out_features);
    case LayerKind::kHead:
      return 0;
    case LayerKind::kRoutedExpert:
      return ExpertShare(model) * MlpValues(layer, experts_in_turn);
    default:
      return MlpValues(layer, experts_in_turn);
  }
}

// The same by transformer layer, in their order; what is in none is as the layer before.
std::vector<double> KeptValuesByLayer(const ActivationsOf& training) {
  const bool experts_in_turn = ExpertsGoInTurn(training);
  std::vector<double> values(1);
  std::string_view current;
  for (const LinearLayer& layer : training.model.linear_layers) {
    const std::string_view own = TransformerLayerOf(layer);
    if (!own.empty() && !current.empty() && own != current) values.push_back(0);
    if (!own.empty()) current = own;
    values.back() += KeptValues(layer, training.model, experts_in_turn);
  }
  return values;
}

// Values of one token in memory at two moments that may be the worst.
struct TokenValues {
  double behind_the_forward_pass = 0;
  double in_the_backward_pass = 0;  // In the worst of the recomputed layers.
};

TokenValues ValuesPerToken(const ActivationsOf& training) {
  const auto input = static_cast<double>(training.model.hidden_size);
  int64_t recomputed_layers = training.recomputed_layers;
  double inputs = 0;
  TokenValues values;
  for (const double kept : KeptValuesByLayer(training)) {
    if (recomputed_layers-- > 0) {
      inputs += input;
      values.in_the_backward_pass = std::max(values.in_the_backward_pass, inputs + kept);
    } else {
      values.behind_the_forward_pass += kept;
    }
  }
  values.behind_the_forward_pass += inputs;
  return values;
}

// Values a token needs while one layer's experts are differentiated: its gradient
// and what the last projection took, for each expert; and how much more LibTorch's
// operations take, which write new tensors; measured.
double PassingValuesPerToken(const ActivationsOf& training) {
  const BaseModelDescription& model = training.model;
  const int64_t times = training.type == ComputeType::kBf16 ? 2 : 6;
  for (const LinearLayer& layer : model.linear_layers) {
    if (layer.kind != LayerKind::kRoutedExpert || !EndsIn(layer, "down_proj")) continue;
    return static_cast<double>(times * model.experts_per_token *
                               (layer.out_features + layer.in_features));
  }
  return 0;
}

double ValuesByLibTorch(const ActivationsOf& training) {
  const double rows = training.rows();
  const TokenValues of_token = ValuesPerToken(training);
  const double experts = rows * PassingValuesPerToken(training);
  return std::max(
      rows * of_token.behind_the_forward_pass + std::max(experts, training.LogitValues(rows)),
      rows * of_token.in_the_backward_pass + experts);
}

}  // namespace

double ExpertShare(const BaseModelDescription& model) {
  return static_cast<double>(model.experts_per_token) /
         static_cast<double>(std::max<int64_t>(1, model.routed_expert_count));
}

bool EndsIn(const LinearLayer& layer, std::string_view leaf) { return layer.name.ends_with(leaf); }

std::string_view TransformerLayerOf(const LinearLayer& layer) {
  constexpr std::string_view kLayers = "layers.";
  const std::string_view name = layer.name;
  const size_t layers = name.find(kLayers);
  if (layers == std::string_view::npos) return "";
  return name.substr(0, name.find('.', layers + kLayers.size()));
}

double ActivationsOf::rows() const {
  const auto length = static_cast<double>(plan.training.sequence_length);
  return std::min({static_cast<double>(plan.training.batch_size) * length,
                   std::max(kTokensTogether, length), static_cast<double>(records.rows)});
}

double ActivationsOf::wanted_rows() const {
  return std::min(rows(), static_cast<double>(records.wanted_rows));
}

double ActivationsOf::LogitValues(double of_rows) const {
  const auto vocabulary = static_cast<double>(std::max<int64_t>(1, model.vocabulary_size));
  return std::min(of_rows, std::max(kFewestLogitRows, kLogitsTogether / vocabulary)) * vocabulary;
}

int64_t ActivationBytes(const ActivationsOf& training) {
  switch (training.type) {
    case ComputeType::kBf16:
      return static_cast<int64_t>(kGpuHeapOverhead * 2 * ValuesByLibTorch(training));
    case ComputeType::kFp32Widened:
      return static_cast<int64_t>(kHeapOverhead * 4 * ValuesByLibTorch(training));
    case ComputeType::kFp32:
    case ComputeType::kFp32Rounding:
      break;
  }
  return static_cast<int64_t>(kHeapOverhead * 4 * ValuesByKernels(training));
}

}  // namespace fedtune
