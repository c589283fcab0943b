// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rounds/expert_load.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

namespace fedtune {
namespace {

LayerLoad LoadOf(std::span<const int64_t> experts) {
  LayerLoad load{.routed_tokens = std::reduce(experts.begin(), experts.end())};
  const auto count = static_cast<double>(experts.size());
  load.idle_share = static_cast<double>(std::count(experts.begin(), experts.end(), 0)) / count;
  if (load.routed_tokens == 0) return load;
  const double mean = static_cast<double>(load.routed_tokens) / count;
  double squares = 0;
  for (const int64_t tokens : experts) {
    const double difference = static_cast<double>(tokens) - mean;
    squares += difference * difference;
  }
  load.variation = std::sqrt(squares / count) / mean;
  return load;
}

}  // namespace

std::vector<LayerLoad> LayerLoadsOf(const RoutedTokens& routed) {
  std::vector<LayerLoad> loads;
  const auto experts = static_cast<size_t>(routed.experts);
  for (size_t first = 0; first < routed.counts.size(); first += experts) {
    loads.push_back(LoadOf(std::span(routed.counts).subspan(first, experts)));
  }
  return loads;
}

}  // namespace fedtune
