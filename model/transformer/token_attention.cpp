// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/token_attention.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "model/transformer/attention_heads.h"
#include "model/transformer/parallel.h"
#include "model/transformer/vector_kernels.h"

namespace fedtune {
namespace {

std::vector<float> ValuesOf(const at::Tensor& x) {
  return {x.const_data_ptr<float>(), x.const_data_ptr<float>() + x.numel()};
}

float* RowOf(const at::Tensor& x, int64_t row) {
  return x.mutable_data_ptr<float>() + row * x.stride(0);
}

std::optional<TokenLinear> OfOptional(const std::optional<Linear>& linear, const Adapter& adapter) {
  return linear ? TokenLinear::Of(*linear, adapter) : std::nullopt;
}

std::optional<TokenProjections> Of(const MlaWeights& weights, const Adapter& adapter) {
  const auto kv_a = TokenLinear::Of(weights.kv_a_proj, adapter);
  TokenMla made = {.q_proj = OfOptional(weights.q_proj, adapter),
                   .q_a_proj = OfOptional(weights.q_a_proj, adapter),
                   .q_b_proj = OfOptional(weights.q_b_proj, adapter),
                   .kv_a_proj = kv_a.value_or(TokenLinear{}),
                   .q_a_norm = nullptr,
                   .kv_a_norm = weights.kv_a_norm.const_data_ptr<float>()};
  if (made.q_a_proj) made.q_a_norm = weights.q_a_norm.const_data_ptr<float>();
  const bool has_queries = made.q_proj || (made.q_a_proj && made.q_b_proj);
  if (!kv_a || !has_queries || !WeightRowsOf(weights.kv_b_proj.weight)) return std::nullopt;
  return made;
}

std::optional<TokenProjections> Of(const GqaWeights& weights, const Adapter& adapter) {
  const auto q = TokenLinear::Of(weights.q_proj, adapter);
  const auto k = TokenLinear::Of(weights.k_proj, adapter);
  const auto v = TokenLinear::Of(weights.v_proj, adapter);
  if (!q || !k || !v) return std::nullopt;
  return TokenGqa{*q, *k, *v};
}

float* Room(std::vector<float>& values, int64_t size) {
  values.resize(std::max(values.size(), static_cast<size_t>(size)));
  return values.data();
}

}  // namespace

std::optional<TokenProjections> TokenProjectionsOf(const AttentionWeights& weights,
                                                   const Adapter& adapter) {
  return std::visit([&](const auto& heads) { return Of(heads, adapter); }, weights.heads);
}

TokenAttention::TokenAttention(const AttentionShape& shape, const at::Tensor& frequencies,
                               double magnitude, int64_t capacity)
    : shape_(shape),
      frequencies_(ValuesOf(frequencies)),
      magnitude_(static_cast<float>(magnitude)),
      capacity_(capacity),
      cosines_(frequencies_.size()),
      sines_(frequencies_.size()),
      scores_(static_cast<size_t>(shape.heads * capacity)) {}

void TokenAttention::SetPosition(int64_t position) {
  position_ = position;
  for (size_t i = 0; i < frequencies_.size(); ++i) {
    const float angle = static_cast<float>(position) * frequencies_[i];
    cosines_[i] = magnitude_ * std::cos(angle);
    sines_[i] = magnitude_ * std::sin(angle);
  }
}

void TokenAttention::Rotate(float* values) const {
  const auto half = static_cast<int64_t>(frequencies_.size());
  const bool halves = shape_.pairs == RotaryPairs::kHalves;
  const int64_t step = halves ? 1 : 2, partner = halves ? half : 1;
  for (int64_t i = 0; i < half; ++i) {
    float &a = values[i * step], &b = values[i * step + partner];
    const auto pair = static_cast<size_t>(i);
    const float turned = a * cosines_[pair] - b * sines_[pair];
    b = a * sines_[pair] + b * cosines_[pair];
    a = turned;
  }
}

void TokenAttention::Project(const float* x, const TokenMla& mla) {
  const TokenLinear& q_proj = mla.q_proj ? *mla.q_proj : *mla.q_b_proj;
  float* q = Room(q_, q_proj.outputs);
  linears_.Add(mla.kv_a_proj, x, Room(compressed_, mla.kv_a_proj.outputs));
  if (mla.q_proj) {
    linears_.Add(*mla.q_proj, x, q);
    linears_.Run();
    return;
  }
  const int64_t low_size = mla.q_a_proj->outputs;
  float* low = Room(low_q_, low_size);
  linears_.Add(*mla.q_a_proj, x, low);
  linears_.Run();
  RmsNormRow(low, mla.q_a_norm, kLatentNormEpsilon, low_size, low);
  linears_.Add(*mla.q_b_proj, low, q);
  linears_.Run();
}

// Scores are of latents: q (W c) = (W^T q) c.
void TokenAttention::AttendLatentHead(int64_t head, const LatentCache& cache) {
  const MlaConfig& mla = std::get<MlaConfig>(shape_.config);
  const int64_t nope = mla.qk_nope_head_dim, rank = mla.kv_lora_rank, so_far = position_ + 1;
  float* q = q_.data() + head * mla.qk_head_dim();
  Rotate(q + nope);
  const WeightRows up = WeightRowsOf(cache.up)->From(head * (nope + mla.v_head_dim));
  const WeightRows latents = {cache.latents.const_data_ptr(), rank, WeightType::kFp32};
  const WeightRows rotary = {cache.rotary_keys.const_data_ptr(), mla.qk_rope_head_dim,
                             WeightType::kFp32};
  float* latent = latents_.data() + head * rank;
  std::fill_n(latent, rank, 0.0F);
  AddRows(up, nope, q, latent);
  float* scores = ScoresOf(head);
  MultiplyRows(latents, so_far, latent, scores);
  MultiplyRows(rotary, so_far, q + nope, scores, /*add=*/true);
  SoftmaxRow(scores, so_far, so_far, static_cast<float>(shape_.softmax_scale));
  std::fill_n(latent, rank, 0.0F);
  AddRows(latents, so_far, scores, latent);
  MultiplyRows(up.From(nope), mla.v_head_dim, latent, values_.data() + head * mla.v_head_dim);
}

void TokenAttention::AttendLatent(const TokenMla& mla, LatentCache& cache) {
  const MlaConfig& config = std::get<MlaConfig>(shape_.config);
  RmsNormRow(compressed_.data(), mla.kv_a_norm, kLatentNormEpsilon, config.kv_lora_rank,
             RowOf(cache.latents, position_));
  float* rotary_key = RowOf(cache.rotary_keys, position_);
  std::copy_n(compressed_.data() + config.kv_lora_rank, config.qk_rope_head_dim, rotary_key);
  Rotate(rotary_key);
  Room(latents_, shape_.heads * config.kv_lora_rank);
  Room(values_, shape_.heads * config.v_head_dim);
  InParallel(shape_.heads, [&](int64_t head) { AttendLatentHead(head, cache); });
}

void TokenAttention::AttendGroupHead(int64_t head, const HeadCache& cache) {
  const GqaConfig& gqa = std::get<GqaConfig>(shape_.config);
  const int64_t size = gqa.head_dim, so_far = position_ + 1;
  const int64_t group = head / (shape_.heads / gqa.key_value_head_count);
  float *q = q_.data() + head * size, *scores = ScoresOf(head),
        *value = values_.data() + head * size;
  Rotate(q);
  MultiplyRows({RowOf(cache.keys, group), size, WeightType::kFp32}, so_far, q, scores);
  SoftmaxRow(scores, so_far, so_far, static_cast<float>(shape_.softmax_scale));
  std::fill_n(value, size, 0.0F);
  AddRows({RowOf(cache.values, group), size, WeightType::kFp32}, so_far, scores, value);
}

void TokenAttention::AttendGroups(const float* x, const TokenGqa& gqa, HeadCache& cache) {
  const GqaConfig& config = std::get<GqaConfig>(shape_.config);
  const int64_t size = config.head_dim, groups = config.key_value_head_count;
  float* k = Room(compressed_, 2 * groups * size);
  float* v = k + groups * size;
  linears_.Add(gqa.q_proj, x, Room(q_, shape_.heads * size));
  linears_.Add(gqa.k_proj, x, k);
  linears_.Add(gqa.v_proj, x, v);
  linears_.Run();
  for (int64_t group = 0; group < groups; ++group) {
    Rotate(k + group * size);
    std::copy_n(k + group * size, size, RowOf(cache.keys, group) + position_ * size);
    std::copy_n(v + group * size, size, RowOf(cache.values, group) + position_ * size);
  }
  Room(values_, shape_.heads * size);
  InParallel(shape_.heads, [&](int64_t head) { AttendGroupHead(head, cache); });
}

const float* TokenAttention::Attend(const float* x, const TokenProjections& projections,
                                    AttentionCache& cache) {
  if (const auto* mla = std::get_if<TokenMla>(&projections)) {
    Project(x, *mla);
    AttendLatent(*mla, std::get<LatentCache>(cache));
  } else {
    AttendGroups(x, std::get<TokenGqa>(projections), std::get<HeadCache>(cache));
  }
  return values_.data();
}

}  // namespace fedtune
