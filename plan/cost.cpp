// SPDX-License-Identifier: Apache-2.0

#include "plan/cost.h"

#include <algorithm>

#include "base/check.h"
#include "base/cpu.h"
#include "plan/activations.h"
#include "plan/routing_shape.h"
#include "plan/secure_vector.h"
#include "plan/weight_memory.h"
#include "privacy/secure_aggregation/session_parameters.h"

namespace fedtune {
namespace {

constexpr int64_t kAdapterValueBytes = 4;

// Measured with bench/run.sh train: what the program holds before it trains.
constexpr int64_t kProgramBytes = 150'000'000;

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

}  // namespace

ComputeType ComputeTypeOfCpu() {
  switch (UsableCpuLevel()) {
    case CpuLevel::kPortable:
      return ComputeType::kFp32Widened;
    case CpuLevel::kAvx512:
      return ComputeType::kFp32;
    case CpuLevel::kAvx512Bf16:
    case CpuLevel::kAmxBf16:
      break;
  }
  return ComputeType::kFp32Rounding;
}

PlanCost EstimateCost(const Plan& plan, const BaseModelDescription& model,
                      const AdapterLayout& layout, ComputeType type, int64_t recomputed_layers,
                      const KnownRecords& records) {
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
  cost.program_bytes = type == ComputeType::kBf16 ? 0 : kProgramBytes;
  cost.adapter_bytes = kAdapterValueBytes * (3 * parameters + moments * largest);
  cost.activation_bytes = ActivationBytes({plan, model, layout, type, recomputed_layers, records});
  // Before that, while the model was loaded, there was nothing but the global adapter.
  const int64_t behind_loading =
      cost.adapter_bytes - kAdapterValueBytes * parameters + cost.activation_bytes;
  cost.returned_weight_bytes =
      std::min(behind_loading, ReturnedEmbeddingBytes(model, type, records.embedding_pieces));
  cost.weight_bytes = WeightBytes(model, type) - cost.returned_weight_bytes;
  return cost;
}

}  // namespace fedtune
