// SPDX-License-Identifier: Apache-2.0

#include "client/training/sampling.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

#include "fmt/format.h"

namespace fedtune {
namespace {

// In [0, 1): 53 bits, the same from every standard library.
double Uniform(std::mt19937_64& random) { return static_cast<double>(random() >> 11) * 0x1p-53; }

struct Likelier {
  bool operator()(int32_t a, int32_t b) const {
    const double of_a = weights[static_cast<size_t>(a)];
    const double of_b = weights[static_cast<size_t>(b)];
    return of_a != of_b ? of_a > of_b : a < b;
  }
  const std::vector<double>& weights;
};

}  // namespace

absl::Status CheckSampling(const Sampling& sampling) {
  const auto outside = [](const char* name, double value, const char* range) {
    return absl::InvalidArgumentError(fmt::format("{} is {}; it must be {}", name, value, range));
  };
  if (!(sampling.temperature >= 0 && sampling.temperature <= 100)) {
    return outside("temperature", sampling.temperature, "from 0 to 100");
  }
  if (sampling.top_k < 0)
    return outside("top_k", static_cast<double>(sampling.top_k), "at least 0");
  if (!(sampling.top_p > 0 && sampling.top_p <= 1)) {
    return outside("top_p", sampling.top_p, "above 0 and at most 1");
  }
  return absl::OkStatus();
}

int32_t Sampler::Choose(std::span<const float> logits) {
  const auto best = std::max_element(logits.begin(), logits.end());
  if (sampling_.temperature == 0) return static_cast<int32_t>(best - logits.begin());
  weights_.clear();
  for (const float logit : logits) {
    weights_.push_back(std::exp((static_cast<double>(logit) - *best) / sampling_.temperature));
  }
  candidates_.resize(logits.size());
  std::iota(candidates_.begin(), candidates_.end(), 0);
  KeepTopK();
  KeepTopP();
  return Draw();
}

void Sampler::KeepTopK() {
  const auto k = static_cast<size_t>(sampling_.top_k);
  if (k == 0 || k >= candidates_.size()) return;
  BringLikeliest(candidates_.begin(), candidates_.begin() + sampling_.top_k);
  candidates_.resize(k);
}

// A few tokens have most of the probability, so not all of a large vocabulary are sorted.
void Sampler::KeepTopP() {
  if (sampling_.top_p == 1) return;
  const double wanted = sampling_.top_p * WeightOfAll();
  double kept = 0;
  auto next = candidates_.begin();
  for (std::ptrdiff_t together = 64; next != candidates_.end(); together *= 4) {
    const auto end = next + std::min(together, candidates_.end() - next);
    BringLikeliest(next, end);
    for (; next != end; ++next) {
      kept += WeightOf(*next);
      if (kept < wanted) continue;
      candidates_.erase(next + 1, candidates_.end());
      return;
    }
  }
}

void Sampler::BringLikeliest(Place begin, Place end) {
  if (end != candidates_.end()) {
    std::nth_element(begin, end, candidates_.end(), Likelier{weights_});
  }
  std::sort(begin, end, Likelier{weights_});
}

int32_t Sampler::Draw() {
  const double point = Uniform(random_) * WeightOfAll();  // Below it, however it is rounded.
  double up_to = 0;
  return *std::find_if(candidates_.begin(), candidates_.end(), [&](int32_t token) {
    up_to += WeightOf(token);
    return point < up_to;
  });
}

double Sampler::WeightOfAll() const {
  double all = 0;
  for (const int32_t token : candidates_) all += WeightOf(token);
  return all;
}

}  // namespace fedtune
