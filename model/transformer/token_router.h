// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/checkpoint/model_config.h"

namespace fedtune {

// Route() for one token, given what its router made of it. Keeps room for what it
// computes; not thread-safe.
class TokenRouter {
 public:
  struct Choice {
    int64_t expert;
    float weight;
  };

  explicit TokenRouter(const MoeConfig& moe) : moe_(moe) {}

  // The experts of the token, the best first; valid until the next call. `products`
  // holds one value for each expert; `bias` too, or nothing.
  std::span<const Choice> Choose(std::span<const float> products, std::span<const float> bias);

 private:
  void Score(std::span<const float> products);
  void CloseWorseGroups();
  void Weigh();

  const MoeConfig moe_;
  std::vector<float> scores_;
  std::vector<float> compared_;  // The same with the bias; without the groups not chosen.
  std::vector<float> best_;      // Of one group, or of each.
  std::vector<int64_t> order_;
  std::vector<Choice> choices_;
};

}  // namespace fedtune
