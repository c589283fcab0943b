// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "client/commands/model_flags.h"
#include "client/commands/trainer_factory.h"
#include "client/training/recompute.h"
#include "plan/plan.h"

namespace fedtune {

// What is given wins over the plan's file, and that over the defaults.
struct TrainOptions {
  ModelFlags model;
  std::filesystem::path data;
  std::optional<std::filesystem::path> eval;
  std::filesystem::path out;
  std::optional<std::filesystem::path> plan;
  std::optional<int64_t> rank;
  std::optional<double> alpha;
  std::vector<std::string> targets;
  std::vector<std::string> rank_pattern;   // "q_proj=8"
  std::vector<std::string> alpha_pattern;  // "q_proj=16"
  std::optional<int64_t> routed_rank;
  std::vector<int64_t> routed_experts;
  std::vector<int64_t> routed_layers;
  bool rslora = false;
  bool fused_experts = false;  // In the adapter's file.
  std::optional<double> dropout;
  std::optional<int64_t> steps;
  std::optional<int64_t> epochs;
  std::optional<int64_t> batch_size;
  std::optional<double> learning_rate;
  std::optional<double> warmup;
  std::optional<std::string> schedule;
  std::optional<std::string> optimizer;
  std::optional<int64_t> sequence_length;
  std::optional<int64_t> seed;
  Recompute recompute = Recompute::kAuto;
  std::optional<double> memory_gb;
  bool json = false;
};

void AddTrainFlags(CLI::App& command, TrainOptions& options);

// The plan of a local training: as many steps as all rounds of the plan's file
// have, in one round.
//
// INVALID_ARGUMENT: the plan's file cannot be used, or a pattern is not of the form
// PATTERN=NUMBER.
absl::StatusOr<Plan> PlanOf(const TrainOptions& options);

// Trains an adapter on one file, without a coordinator, and writes it as PEFT
// stores it.
absl::Status TrainOnFile(const TrainOptions& options, const TrainerFactory& trainers,
                         const Clock& clock);

}  // namespace fedtune
