// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <vector>

#include "coordinator/rounds/round_summary.h"

namespace fedtune {

// How evenly one layer's tokens went to its routed experts.
struct LayerLoad {
  int64_t routed_tokens = 0;  // Each token once for every expert that it went to.
  double variation = 0;       // Standard deviation of the experts' tokens over their mean.
  double idle_share = 0;      // Of experts without a token.
};

// Layer by layer. A layer without tokens has a variation of 0.
// Requires: counts of whole layers.
std::vector<LayerLoad> LayerLoadsOf(const RoutedTokens& routed);

}  // namespace fedtune
