// SPDX-License-Identifier: Apache-2.0

#include "bench/train/step_products.h"

#include <algorithm>
#include <variant>

namespace fedtune::bench {
namespace {

// Counts what is the same as one before.
template <typename Shape, typename IsSame>
void Add(const Shape& shape, const IsSame& is_same, std::vector<Shape>& shapes) {
  const auto same = std::find_if(shapes.begin(), shapes.end(), is_same);
  if (same == shapes.end()) {
    shapes.push_back(shape);
  } else {
    same->count += shape.count;
  }
}

void AddLayer(const LayerShape& layer, std::vector<LayerShape>& shapes) {
  const auto is_same = [&layer](const LayerShape& other) {
    return other.rows == layer.rows && other.in_features == layer.in_features &&
           other.out_features == layer.out_features;
  };
  Add(layer, is_same, shapes);
}

int64_t RowsOf(const LinearLayer& layer, const BaseModelDescription& model, int64_t tokens) {
  if (layer.kind != LayerKind::kRoutedExpert) return tokens;
  return tokens * model.experts_per_token / model.routed_expert_count;
}

int64_t KeyDim(const ModelConfig& config) {
  if (const auto* mla = std::get_if<MlaConfig>(&config.attention)) return mla->qk_head_dim();
  return std::get<GqaConfig>(config.attention).head_dim;
}

int64_t ValueDim(const ModelConfig& config) {
  if (const auto* mla = std::get_if<MlaConfig>(&config.attention)) return mla->v_head_dim;
  return std::get<GqaConfig>(config.attention).head_dim;
}

}  // namespace

std::vector<LayerShape> FrozenLayersOf(const BaseModelDescription& model, int64_t tokens) {
  std::vector<LayerShape> shapes;
  for (const LinearLayer& layer : model.linear_layers) {
    AddLayer({1, RowsOf(layer, model, tokens), layer.in_features, layer.out_features}, shapes);
  }
  return shapes;
}

std::vector<ProductShape> LoraProductsOf(const BaseModelDescription& model,
                                         const AdapterLayout& layout, int64_t tokens) {
  std::vector<LayerShape> layers;
  std::vector<int64_t> ranks;
  for (const AdapterModule& module : layout.modules()) {
    const auto layer =
        std::find_if(model.linear_layers.begin(), model.linear_layers.end(),
                     [&module](const LinearLayer& linear) { return linear.name == module.name; });
    if (layer == model.linear_layers.end()) continue;
    const size_t before = layers.size();
    AddLayer({1, RowsOf(*layer, model, tokens), layer->in_features, layer->out_features}, layers);
    if (layers.size() > before) ranks.push_back(module.lora_rank);
  }
  std::vector<ProductShape> shapes;
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerShape& of = layers[i];
    const int64_t in = of.in_features, out = of.out_features, rank = ranks[i];
    shapes.push_back({of.count, of.rows, in, rank, false, true});   // x A^T
    shapes.push_back({of.count, of.rows, rank, out, false, true});  // low B^T
    shapes.push_back({of.count, of.rows, out, rank});               // dy B
    shapes.push_back({of.count, of.rows, rank, in});                // dlow A
    shapes.push_back({of.count, rank, of.rows, in, true});          // dA = dlow^T x
    shapes.push_back({of.count, rank, of.rows, out, true});         // dB = (low^T dy)^T
  }
  return shapes;
}

std::vector<ProductShape> AttentionProductsOf(const ModelConfig& config, int64_t records,
                                              int64_t length) {
  const int64_t count = records * config.head_count * config.layer_count;
  const int64_t keys = std::max<int64_t>(1, length / 2);
  const int64_t key_dim = KeyDim(config), value_dim = ValueDim(config);
  return {{count, length, key_dim, keys, false, true},    // scores = q k^T
          {count, length, keys, value_dim},               // y = shares v
          {count, length, value_dim, keys, false, true},  // dshares = dy v^T
          {count, keys, length, value_dim, true},         // dv = shares^T dy
          {count, length, keys, key_dim},                 // dq = dscores k
          {count, keys, length, key_dim, true}};          // dk = dscores^T q
}

}  // namespace fedtune::bench
