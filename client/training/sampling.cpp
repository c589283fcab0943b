// SPDX-License-Identifier: Apache-2.0

#include "client/training/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "fmt/format.h"

namespace fedtune {
namespace {

// In [0, 1): 53 bits, the same from every standard library.
double Uniform(std::mt19937_64& random) { return static_cast<double>(random() >> 11) * 0x1p-53; }

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
  order_.resize(logits.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::stable_sort(order_.begin(), order_.end(), [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  if (sampling_.top_k > 0) {
    order_.resize(std::min(order_.size(), static_cast<size_t>(sampling_.top_k)));
  }
  std::vector<double> up_to;  // Unnormalised probability of each token and those before it.
  for (const int32_t token : order_) {
    const double weight = std::exp(
        (static_cast<double>(logits[static_cast<size_t>(token)]) - *best) / sampling_.temperature);
    up_to.push_back(weight + (up_to.empty() ? 0 : up_to.back()));
  }
  const auto nucleus = std::lower_bound(up_to.begin(), up_to.end(), sampling_.top_p * up_to.back());
  const auto end = nucleus == up_to.end() ? nucleus : nucleus + 1;
  const double point = Uniform(random_) * *(end - 1);
  return order_[static_cast<size_t>(std::upper_bound(up_to.begin(), end - 1, point) -
                                    up_to.begin())];
}

}  // namespace fedtune
