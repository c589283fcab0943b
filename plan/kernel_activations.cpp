// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "plan/activations.h"
#include "plan/weight_memory.h"

namespace fedtune {
namespace {

// What a transformer layer has in memory: values of each row, or, behind the attention,
// of each that somebody wants, which are all but in the last layer.
struct LayerValues {
  double kept_by_attention = 0;
  double kept_behind_it = 0;

  // While the derivative of the attention, or of what is behind it, is being made.
  double passing_in_attention = 0;
  double passing_behind_it = 0;

  // Gradients of factors, of no row: of all, and of those behind the attention.
  double factor_gradients = 0;
  double factor_gradients_behind_it = 0;
};

using ModuleByName = absl::flat_hash_map<std::string_view, const AdapterModule*>;

ModuleByName ByName(const AdapterLayout& layout) {
  ModuleByName modules;
  for (const AdapterModule& module : layout.modules()) modules.emplace(module.name, &module);
  return modules;
}

// With AVX-512 BF16 rows are rounded for products of weights in bf16, and kept so.
bool RoundsActivations(const ActivationsOf& training) {
  return training.type == ComputeType::kFp32Rounding && StaysBf16(training.model);
}

// Adds up what the projections of one layer have.
class LayerSum {
 public:
  LayerSum(const ActivationsOf& training, const ModuleByName& modules, bool is_latent)
      : model_(training.model),
        modules_(modules),
        rounds_(RoundsActivations(training)),
        is_latent_(is_latent) {
    // What goes around the attention, and around its MLP.
    sum_.passing_in_attention = hidden();
    sum_.passing_behind_it = rounds_ ? hidden() + Prepared(hidden()) : hidden();
  }

  void Add(const LinearLayer& layer) {
    const auto module = modules_.find(layer.name);
    const bool is_adapted = module != modules_.end();
    const double rank = is_adapted ? static_cast<double>(module->second->lora_rank) : 0;
    const auto in = static_cast<double>(layer.in_features);
    const auto out = static_cast<double>(layer.out_features);
    switch (layer.kind) {
      case LayerKind::kAttention:
        AddAttention(layer, in, out, rank);
        break;
      case LayerKind::kRouter:
        sum_.kept_behind_it += Prepared(in) + out + rank;
        sum_.passing_behind_it += hidden();
        break;
      case LayerKind::kHead:
        return;
      default:
        AddMlp(layer, in, out, rank);
    }
    sum_.factor_gradients += rank * (in + out);
    if (layer.kind != LayerKind::kAttention) sum_.factor_gradients_behind_it += rank * (in + out);
  }

  const LayerValues& sum() const { return sum_; }

 private:
  double hidden() const { return static_cast<double>(model_.hidden_size); }

  // Of rows as products take them, and MLPs keep them.
  double Prepared(double values) const { return rounds_ ? values / 2 : values; }

  // Norms keep what they took; the gradient of A takes what its layer took; queries and keys
  // make scores anew in the backward pass.
  void AddAttention(const LinearLayer& layer, double in, double out, double rank) {
    const double taken = rank > 0 ? Prepared(in) : 0;
    if (EndsIn(layer, "o_proj")) {
      sum_.kept_behind_it += taken + out + rank;
      sum_.passing_in_attention += is_latent_ ? 2 * in : in;
      return;
    }
    const bool makes_queries = EndsIn(layer, "q_proj") || EndsIn(layer, "q_b_proj");
    sum_.kept_by_attention += rank;
    if (EndsIn(layer, "q_b_proj") || EndsIn(layer, "kv_b_proj")) {
      sum_.kept_by_attention += taken;
    } else {
      AddInput(layer, in, taken);
    }
    if (is_latent_) {
      sum_.kept_by_attention += out;
      if (makes_queries) sum_.passing_in_attention += 2 * out;
    } else if (makes_queries) {  // Each of which has a key and a value of its own.
      sum_.kept_by_attention += 3 * out;
      sum_.passing_in_attention += 3 * out;
    }
  }

  // Of the layer, which several projections take together.
  void AddInput(const LinearLayer& layer, double in, double taken) {
    if (EndsIn(layer, "q_proj") || EndsIn(layer, "q_a_proj")) sum_.kept_by_attention += in;
    sum_.kept_by_attention += std::max(0.0, taken - kept_input_);
    kept_input_ = std::max(kept_input_, taken);
  }

  void AddMlp(const LinearLayer& layer, double in, double out, double rank) {
    const double share = layer.kind == LayerKind::kRoutedExpert ? ExpertShare(model_) : 1;
    sum_.kept_behind_it += share * rank;
    sum_.passing_behind_it += share * rank;
    if (!EndsIn(layer, "down_proj")) {
      sum_.kept_behind_it += share * Prepared(out);
      return;
    }
    if (layer.kind == LayerKind::kDenseMlp) sum_.kept_behind_it += Prepared(out);
    sum_.passing_behind_it += share * (out + Prepared(in));
  }

  const BaseModelDescription& model_;
  const ModuleByName& modules_;
  const bool rounds_;
  const bool is_latent_;
  double kept_input_ = 0;
  LayerValues sum_;
};

// Room that MLPs keep for the rows that go through them together.
double ScratchValues(const ActivationsOf& training) {
  constexpr double kRowsTogether = 512;
  int64_t widest = 0;
  for (const LinearLayer& layer : training.model.linear_layers) {
    if (EndsIn(layer, "down_proj")) widest = std::max(widest, layer.in_features);
  }
  const double times = RoundsActivations(training) ? 3 : 1;
  return times * std::min(training.rows(), kRowsTogether) * static_cast<double>(widest);
}

// In their order; what is in none is as the layer before.
std::vector<LayerValues> ValuesByLayer(const ActivationsOf& training) {
  const auto& layers = training.model.linear_layers;
  const bool is_latent = std::any_of(layers.begin(), layers.end(), [](const LinearLayer& layer) {
    return EndsIn(layer, "kv_b_proj");
  });
  const ModuleByName modules = ByName(training.layout);
  std::vector<LayerSum> sums;
  std::string_view current;
  for (const LinearLayer& layer : layers) {
    const std::string_view own = TransformerLayerOf(layer);
    if (sums.empty() || (!own.empty() && own != current)) {
      sums.emplace_back(training, modules, is_latent);
      current = own;
    }
    sums.back().Add(layer);
  }
  std::vector<LayerValues> values;
  for (const LayerSum& sum : sums) values.push_back(sum.sum());
  return values;
}

}  // namespace

double ValuesByKernels(const ActivationsOf& training) {
  const double rows = training.rows();
  const auto hidden = static_cast<double>(training.model.hidden_size);
  const std::vector<LayerValues> layers = ValuesByLayer(training);
  double kept = 0, most = 0;
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerValues& layer = layers[i];
    const double wanted = i + 1 < layers.size() ? rows : training.wanted_rows();
    const bool is_recomputed = static_cast<int64_t>(i) < training.recomputed_layers;
    const double attention = rows * layer.kept_by_attention;
    const double behind_it = wanted * layer.kept_behind_it;
    // Once more there is what the layer gave, and gradients are handed on when all are made.
    const double given = is_recomputed ? wanted * hidden : 0;
    const double gradients = is_recomputed ? layer.factor_gradients : 0;
    most = std::max({most,
                     kept + attention + behind_it + wanted * layer.passing_behind_it + given +
                         layer.factor_gradients_behind_it,
                     kept + attention + rows * layer.passing_in_attention + given + gradients});
    kept += is_recomputed ? rows * hidden : attention + behind_it;
  }
  // Products of a head in bf16 take the derivatives by logits rounded.
  const double times = RoundsActivations(training) ? 1.5 : 1;
  return std::max(most, kept + times * training.LogitValues(training.wanted_rows())) +
         ScratchValues(training);
}

}  // namespace fedtune
