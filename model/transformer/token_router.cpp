// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/token_router.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

namespace fedtune {
namespace {

// The indices of the `count` largest values, the largest first.
void LargestFirst(std::span<const float> values, int64_t count, std::vector<int64_t>& order) {
  order.resize(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](int64_t a, int64_t b) {
    return values[static_cast<size_t>(a)] > values[static_cast<size_t>(b)];
  });
  order.resize(static_cast<size_t>(count));
}

// By what the best groups are found: the largest values of each, added up.
float BestOf(std::span<const float> group, int64_t count, std::vector<float>& sorted) {
  sorted.assign(group.begin(), group.end());
  std::partial_sort(sorted.begin(), sorted.begin() + count, sorted.end(), std::greater<>());
  return std::accumulate(sorted.begin(), sorted.begin() + count, 0.0F);
}

}  // namespace

void TokenRouter::Score(std::span<const float> products) {
  scores_.assign(products.begin(), products.end());
  if (moe_.scores == RouterScores::kSigmoid) {
    for (float& score : scores_) score = 1 / (1 + std::exp(-score));
    return;
  }
  const float most = *std::max_element(scores_.begin(), scores_.end());
  for (float& score : scores_) score = std::exp(score - most);
  const float sum = std::accumulate(scores_.begin(), scores_.end(), 0.0F);
  for (float& score : scores_) score /= sum;
}

void TokenRouter::CloseWorseGroups() {
  if (moe_.choice == ExpertChoice::kGreedy) return;
  const size_t size = compared_.size() / static_cast<size_t>(moe_.group_count);
  const int64_t count = moe_.choice == ExpertChoice::kBiasedGroups ? 2 : 1;
  std::vector<float>& sorted = best_;
  std::vector<float> of_group(static_cast<size_t>(moe_.group_count));
  for (size_t i = 0; i < of_group.size(); ++i) {
    of_group[i] = BestOf(std::span(compared_).subspan(i * size, size), count, sorted);
  }
  LargestFirst(of_group, moe_.groups_per_token, order_);
  for (size_t i = 0; i < of_group.size(); ++i) {
    if (std::find(order_.begin(), order_.end(), static_cast<int64_t>(i)) != order_.end()) continue;
    std::fill_n(compared_.begin() + static_cast<int64_t>(i * size), size,
                -std::numeric_limits<float>::infinity());
  }
}

void TokenRouter::Weigh() {
  const bool normalize =
      moe_.normalize_weights &&
      (moe_.experts_per_token > 1 || moe_.weight_scaling == WeightScaling::kNormalizeAndScale);
  const auto scale = static_cast<float>(moe_.routed_scaling_factor);
  float factor = scale;
  if (normalize) {
    float sum = 1e-20F;
    for (const Choice& choice : choices_) sum += choice.weight;
    factor = (moe_.weight_scaling == WeightScaling::kNormalizeOrScale ? 1 : scale) / sum;
  }
  for (Choice& choice : choices_) choice.weight *= factor;
}

std::span<const TokenRouter::Choice> TokenRouter::Choose(std::span<const float> products,
                                                         std::span<const float> bias) {
  Score(products);
  compared_ = scores_;
  for (size_t i = 0; i < bias.size(); ++i) compared_[i] += bias[i];
  CloseWorseGroups();
  LargestFirst(compared_, moe_.experts_per_token, order_);
  choices_.clear();
  for (const int64_t expert : order_) {
    choices_.push_back({expert, scores_[static_cast<size_t>(expert)]});
  }
  Weigh();
  return choices_;
}

}  // namespace fedtune
