// SPDX-License-Identifier: Apache-2.0

#include "plan/routing_shape.h"

#include <algorithm>

#include "fmt/format.h"

namespace fedtune {
namespace {

// Tokens that one client trains on in a round: full sequences, and of epochs over
// as many records as a client may have.
int64_t MostTokens(const TrainingPlan& training) {
  const int64_t records = training.steps > 0
                              ? training.steps * training.batch_size
                              : training.epochs * kMostCountedExamples + training.batch_size - 1;
  return std::min(records * training.sequence_length, kMostCountedTokens);
}

}  // namespace

absl::StatusOr<RoutingShape> RoutingShapeOf(const BaseModelDescription& model,
                                            const TrainingPlan& training) {
  RoutingShape shape;
  for (const LinearLayer& layer : model.linear_layers) {
    if (layer.kind != LayerKind::kRouter) continue;
    if (layer.out_features != model.routed_expert_count) {
      return absl::InvalidArgumentError(
          fmt::format("{} of {} has {} outputs, and the model {} routed experts", layer.name,
                      model.name, layer.out_features, model.routed_expert_count));
    }
    ++shape.layers;
  }
  if (shape.layers == 0) return shape;
  shape.experts = model.routed_expert_count;
  shape.choices = model.experts_per_token;
  shape.most_tokens = MostTokens(training);
  if (shape.choices < 1 || shape.choices > shape.experts) {
    return absl::InvalidArgumentError(fmt::format("{} routes a token to {} of {} experts",
                                                  model.name, shape.choices, shape.experts));
  }
  if (shape.experts > kMostRoutedExperts / shape.layers) {
    return absl::InvalidArgumentError(
        fmt::format("{} has {} layers of {} routed experts; at most {} experts are counted",
                    model.name, shape.layers, shape.experts, kMostRoutedExperts));
  }
  return shape;
}

}  // namespace fedtune
