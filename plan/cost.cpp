// SPDX-License-Identifier: Apache-2.0

#include "plan/cost.h"

#include <algorithm>

namespace fedtune {
namespace {

constexpr int64_t kAdapterValueBytes = 4;

// Values that clients train over the whole run.
int64_t ValuesOverRun(const Plan& plan, const AdapterLayout& layout) {
  // No schedule of factors repeats after more than two rounds.
  const int64_t even = layout.parameter_count(TrainedFactors(plan.aggregation.method, 0));
  const int64_t odd = layout.parameter_count(TrainedFactors(plan.aggregation.method, 1));
  return (plan.rounds.count + 1) / 2 * even + plan.rounds.count / 2 * odd;
}

int64_t LargestRound(const Plan& plan, const AdapterLayout& layout) {
  return std::max(layout.parameter_count(TrainedFactors(plan.aggregation.method, 0)),
                  layout.parameter_count(TrainedFactors(plan.aggregation.method, 1)));
}

// Values that one token leaves behind for the backward pass.
double ValuesPerToken(const BaseModelDescription& model) {
  const double expert_share = model.routed_expert_count > 0
                                  ? static_cast<double>(model.experts_per_token) /
                                        static_cast<double>(model.routed_expert_count)
                                  : 1;
  double values = 0;
  for (const LinearLayer& layer : model.linear_layers) {
    if (layer.kind == LayerKind::kHead) continue;
    const auto size = static_cast<double>(layer.in_features + layer.out_features);
    values += layer.kind == LayerKind::kRoutedExpert ? size * expert_share : size;
  }
  return values;
}

}  // namespace

PlanCost EstimateCost(const Plan& plan, const BaseModelDescription& model,
                      const AdapterLayout& layout, ComputeType type) {
  const int64_t value_bytes = type == ComputeType::kBf16 ? 2 : 4;
  const int64_t parameters = layout.parameter_count();
  const int64_t rounds = std::max<int64_t>(1, plan.rounds.count);
  const int64_t over_run = ValuesOverRun(plan, layout);
  const int64_t largest = LargestRound(plan, layout);
  const int64_t moments = plan.training.optimizer == LocalOptimizer::kAdamW ? 2 : 0;
  const double tokens = static_cast<double>(plan.training.batch_size) *
                        static_cast<double>(plan.training.sequence_length);
  PlanCost cost;
  cost.trained_parameters = parameters;
  cost.share_of_base = static_cast<double>(parameters) /
                       static_cast<double>(std::max<int64_t>(1, model.parameter_count));
  cost.parameters_a_round = static_cast<double>(over_run) / static_cast<double>(rounds);
  cost.upload_bytes_a_round = kAdapterValueBytes * cost.parameters_a_round;
  cost.download_bytes_a_round = kAdapterValueBytes * parameters;
  cost.transfer_bytes = kAdapterValueBytes * over_run + (rounds + 1) * cost.download_bytes_a_round;
  cost.weight_bytes = value_bytes * model.parameter_count;
  cost.adapter_bytes = kAdapterValueBytes * (2 * parameters + largest + moments * largest);
  cost.activation_bytes =
      static_cast<int64_t>(static_cast<double>(value_bytes) * tokens * ValuesPerToken(model));
  return cost;
}

}  // namespace fedtune
