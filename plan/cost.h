// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "aggregation/adapter_layout.h"
#include "model/checkpoint/base_model_description.h"
#include "plan/plan.h"

namespace fedtune {

// What a plan costs one client, before anything runs.
struct PlanCost {
  int64_t trained_parameters = 0;  // All values of the adapter.
  double share_of_base = 0;        // trained_parameters / the base model's.
  double parameters_a_round = 0;   // Trained in a round, on average over the run.

  // Adapters travel as fp32: up go the factors that the round trains, down the
  // whole adapter.
  double upload_bytes_a_round = 0;
  int64_t download_bytes_a_round = 0;
  // Over all rounds, and the adapter once more for the final evaluation.
  int64_t transfer_bytes = 0;

  int64_t weight_bytes = 0;      // The base model's parameters.
  int64_t adapter_bytes = 0;     // See EstimateCost().
  int64_t activation_bytes = 0;  // See EstimateCost(); rough.
  int64_t memory_bytes() const { return weight_bytes + adapter_bytes + activation_bytes; }
};

// The type a client computes in: bf16 on GPUs, fp32 on CPUs.
enum class ComputeType : uint8_t { kBf16, kFp32 };

// With b bytes a value (2 or 4), P adapter values of which R are trained in the
// larger of the rounds:
//
//   weight_bytes      b * the model's parameters
//   adapter_bytes     4 * (2 P + R + M R): the global adapter and the trained
//                     one, gradients, and M moments (AdamW 2, SGD 0)
//   activation_bytes  b * batch_size * sequence_length * sum of (in + out) over
//                     the model's linear layers without the head, of which each
//                     routed expert counts by the share of tokens it gets
//
// The last is an upper bound for records shorter than sequence_length, and
// leaves out attention scores and logits. `layout` is the adapter that the plan
// has for this model.
PlanCost EstimateCost(const Plan& plan, const BaseModelDescription& model,
                      const AdapterLayout& layout, ComputeType type);

}  // namespace fedtune
