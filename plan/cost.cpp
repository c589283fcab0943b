// SPDX-License-Identifier: Apache-2.0

#include "plan/cost.h"

#include <algorithm>
#include <string_view>

#include "base/check.h"
#include "plan/routing_shape.h"
#include "plan/secure_vector.h"
#include "privacy/secure_aggregation/session_parameters.h"

namespace fedtune {
namespace {

constexpr int64_t kAdapterValueBytes = 4;

// As the client trains: these many parameters are widened to fp32, these many
// tokens go through the model together, and these many logits.
constexpr int64_t kMaxWidenedParameters = int64_t{1} << 30;
constexpr double kTokensTogether = 8192;
constexpr double kLogitsTogether = 1 << 24;

// Measured with bench/run.sh train: what the program holds before it trains,
// and how much more the heap holds than what is alive in it.
constexpr int64_t kProgramBytes = 150'000'000;
constexpr double kHeapOverhead = 1.3;

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

// Bytes of the protocol's messages, of one client in a round with as many
// clients, all but the masked vector (docs/SECURE_AGGREGATION.md).
struct ProtocolBytes {
  int64_t up = 0;
  int64_t down = 0;
};

ProtocolBytes MessageBytes(int64_t clients) {
  const int64_t neighbors = std::min<int64_t>(clients, kLargestCompleteGraph) - 1;
  // Up a sealed share and an opened one for each neighbour, keys and signatures
  // besides; down keys, sealed shares and proofs of everyone.
  return {.up = neighbors * (96 + 40) + 500, .down = clients * (292 + 104 + 68)};
}

int64_t LimbBytes(const SecurePlan& secure, RoutingShape routing) {
  const auto counters = MaskedLayoutOf(secure, /*value_count=*/0, routing);
  Check(counters.ok(), "the cost of a plan that cannot work");
  return static_cast<int64_t>(BytesPerElement(secure.ring)) * counters->limb_count();
}

void AddTransfer(const Plan& plan, RoutingShape routing, int64_t values_over_run, PlanCost& cost) {
  const int64_t rounds = std::max<int64_t>(1, plan.rounds.count);
  int64_t value_bytes = kAdapterValueBytes;
  if (plan.aggregation.mode == AggregationMode::kSecure) {
    const int64_t limb_bytes = LimbBytes(plan.secure, routing);
    const ProtocolBytes messages = MessageBytes(plan.secure.max_cohort);
    value_bytes = static_cast<int64_t>(BytesPerElement(plan.secure.ring));
    cost.secure_upload_bytes_a_round = limb_bytes + messages.up;
    cost.secure_download_bytes_a_round = messages.down;
    cost.routing_upload_bytes_a_round = limb_bytes - LimbBytes(plan.secure, {});
  }
  cost.upload_bytes_a_round = static_cast<double>(value_bytes) * cost.parameters_a_round +
                              static_cast<double>(cost.secure_upload_bytes_a_round);
  cost.download_bytes_a_round =
      kAdapterValueBytes * cost.trained_parameters + cost.secure_download_bytes_a_round;
  cost.transfer_bytes =
      value_bytes * values_over_run +
      (rounds + 1) * (cost.secure_upload_bytes_a_round + cost.download_bytes_a_round) -
      cost.routing_upload_bytes_a_round;
}

bool EndsIn(const LinearLayer& layer, std::string_view leaf) { return layer.name.ends_with(leaf); }

// What a token leaves behind for the backward pass in one attention layer's
// projection: inputs of the projections, heads, and what they attended to.
int64_t AttentionValues(const LinearLayer& layer) {
  if (EndsIn(layer, "o_proj")) return layer.in_features + 2 * layer.out_features;
  if (EndsIn(layer, "kv_b_proj")) return layer.in_features;
  if (EndsIn(layer, "q_b_proj")) return 2 * layer.in_features + 4 * layer.out_features;
  if (EndsIn(layer, "q_proj")) return 4 * layer.out_features;
  return EndsIn(layer, "q_a_proj") ? 0 : layer.out_features;
}

// The same in an MLP that the token goes through.
int64_t MlpValues(const LinearLayer& layer) {
  const bool is_down = EndsIn(layer, "down_proj");
  if (layer.kind == LayerKind::kRoutedExpert) {
    // Every expert has the token's hidden state and its own result.
    return layer.out_features + (EndsIn(layer, "gate_proj") ? layer.in_features : 0);
  }
  if (layer.kind == LayerKind::kDenseMlp && is_down) return 2 * layer.out_features;
  return is_down ? 0 : layer.out_features;
}

double ExpertShare(const BaseModelDescription& model) {
  return static_cast<double>(model.experts_per_token) /
         static_cast<double>(std::max<int64_t>(1, model.routed_expert_count));
}

// Values that one token leaves behind for the backward pass.
double KeptValuesPerToken(const BaseModelDescription& model) {
  double values = 0;
  for (const LinearLayer& layer : model.linear_layers) {
    switch (layer.kind) {
      case LayerKind::kAttention:
        values += static_cast<double>(AttentionValues(layer));
        break;
      case LayerKind::kRouter:
        values += static_cast<double>(2 * layer.in_features + layer.out_features);
        break;
      case LayerKind::kHead:
        break;
      case LayerKind::kRoutedExpert:
        values += ExpertShare(model) * static_cast<double>(MlpValues(layer));
        break;
      default:
        values += static_cast<double>(MlpValues(layer));
    }
  }
  return values;
}

// Values a token needs while one layer's experts are differentiated: four of
// the hidden size and five of the experts' width for each expert.
double PassingValuesPerToken(const BaseModelDescription& model) {
  for (const LinearLayer& layer : model.linear_layers) {
    if (layer.kind != LayerKind::kRoutedExpert || !EndsIn(layer, "down_proj")) continue;
    return static_cast<double>(model.experts_per_token) *
           static_cast<double>(4 * layer.out_features + 5 * layer.in_features);
  }
  return 0;
}

// Logits and their logarithms, of as many rows as are in memory together.
double LogitValues(const BaseModelDescription& model, double tokens) {
  const auto vocabulary = static_cast<double>(std::max<int64_t>(1, model.vocabulary_size));
  return 2 * std::min(tokens * vocabulary, std::max(kLogitsTogether, vocabulary));
}

int64_t ActivationBytes(const TrainingPlan& training, const BaseModelDescription& model,
                        int64_t value_bytes) {
  const auto length = static_cast<double>(training.sequence_length);
  const double tokens = std::min(static_cast<double>(training.batch_size) * length,
                                 std::max(kTokensTogether, length));
  const double passing =
      std::max(tokens * PassingValuesPerToken(model), LogitValues(model, tokens));
  const double values = tokens * KeptValuesPerToken(model) + passing;
  return static_cast<int64_t>(kHeapOverhead * static_cast<double>(value_bytes) * values);
}

int64_t WeightBytes(const BaseModelDescription& model, ComputeType type) {
  if (type == ComputeType::kBf16) return 2 * model.parameter_count;
  if (model.parameter_count > kMaxWidenedParameters) return model.weight_bytes;
  const int64_t widened = 4 * model.parameter_count;
  return model.weight_bytes < widened ? widened + model.weight_bytes : widened;
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
  PlanCost cost;
  cost.trained_parameters = parameters;
  cost.share_of_base = static_cast<double>(parameters) /
                       static_cast<double>(std::max<int64_t>(1, model.parameter_count));
  cost.parameters_a_round = static_cast<double>(over_run) / static_cast<double>(rounds);
  const absl::StatusOr<RoutingShape> routing = RoutingShapeOf(model, plan.training);
  Check(routing.ok(), "the cost of a model that cannot be counted");
  AddTransfer(plan, *routing, over_run, cost);
  cost.program_bytes = type == ComputeType::kFp32 ? kProgramBytes : 0;
  cost.weight_bytes = WeightBytes(model, type);
  cost.adapter_bytes = kAdapterValueBytes * (2 * parameters + largest + moments * largest);
  cost.activation_bytes = ActivationBytes(plan.training, model, value_bytes);
  return cost;
}

}  // namespace fedtune
