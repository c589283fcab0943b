// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "absl/status/status.h"

namespace fedtune {

// How the next token is chosen from a model's logits.
struct Sampling {
  double temperature = 0;  // 0: always the likeliest token, whatever the rest says.
  int64_t top_k = 0;       // Among so many likeliest; 0: among all.
  // Among the fewest likeliest that have this share of the probability together (Holtzman
  // et al., 2020).
  double top_p = 1;
  uint64_t seed = 0;
};

// INVALID_ARGUMENT: a number out of its range.
absl::Status CheckSampling(const Sampling& sampling);

// Chooses tokens one after the other; equal seeds and logits give equal tokens. Not
// thread-safe.
class Sampler {
 public:
  explicit Sampler(const Sampling& sampling) : sampling_(sampling), random_(sampling.seed) {}

  // `logits` has one finite value at least. Of equal ones the first is the likeliest.
  int32_t Choose(std::span<const float> logits);

 private:
  using Place = std::vector<int32_t>::iterator;

  void KeepTopK();
  void KeepTopP();
  // Those from `begin` on that are likeliest come to lie before `end`, in their order.
  void BringLikeliest(Place begin, Place end);
  int32_t Draw();
  double WeightOf(int32_t token) const { return weights_[static_cast<size_t>(token)]; }
  double WeightOfAll() const;  // Of all candidates, added up in their order.

  const Sampling sampling_;
  std::mt19937_64 random_;
  std::vector<double> weights_;      // Of each token: its probability, unnormalised.
  std::vector<int32_t> candidates_;  // The tokens that are chosen among.
};

}  // namespace fedtune
