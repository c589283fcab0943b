// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "aggregation/adapter_layout.h"
#include "client/data/tokenized_record.h"
#include "client/training/recompute.h"
#include "model/checkpoint/base_model_description.h"
#include "plan/cost.h"
#include "plan/plan.h"

namespace fedtune {

// What a client may use to train.
struct MemoryBudget {
  Recompute recompute = Recompute::kAuto;
  uint64_t bytes = std::numeric_limits<uint64_t>::max();
  ComputeType type = ComputeType::kFp32;
};

// What is to be trained. `plan` and `layout` are of the base model.
struct TrainingNeed {
  const Plan& plan;
  const BaseModelDescription& model;
  const AdapterLayout& layout;
  std::span<const TokenizedRecord> records;  // None has more tokens than the plan allows.
  std::span<const TokenizedRecord> validation;
  std::string_view institution;  // Which decides what records come together (BatchStream).
};

// How a training fits into memory.
struct MemoryFit {
  int64_t recomputed_layers = 0;
  int64_t layers = 0;
  // Forecast, EstimateCost() for the largest of all the run's steps, as its records are
  // packed, and all tokens' embeddings. Evaluations, of 4,096 rows at a time, are not counted:
  // with recomputed layers and steps of few rows they may take more.
  int64_t bytes = 0;
  int64_t bytes_if_kept = 0;  // The same without recomputed layers.
  uint64_t limit = 0;
};

// Decides how many layers recompute their activations: those that the budget says, or
// the fewest with which the forecast is within it. Nothing is loaded for that.
//
// RESOURCE_EXHAUSTED: it does not fit; says by how much and what would help.
absl::StatusOr<MemoryFit> FitIntoMemory(const MemoryBudget& budget, const TrainingNeed& need);

// "1.2 GB of 8.0 GB" or "1.2 GB of 1.3 GB, as 5 of 12 layers compute their activations
// twice (1.9 GB if none did)".
std::string Describe(const MemoryFit& fit);

}  // namespace fedtune
