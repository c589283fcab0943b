// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "client/commands/model_flags.h"
#include "client/training/recompute.h"
#include "plan/plan.h"

namespace fedtune {

// What `train` is told: what is given wins over the plan's file, and that over the defaults.
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

// Adds all of them to the command; `options` must outlive it.
void AddTrainFlags(CLI::App& command, TrainOptions& options);

// The plan of a local training: as many steps as all rounds of the plan's file
// have, in one round.
//
// INVALID_ARGUMENT: the plan's file cannot be used, or a pattern is not of the form
// PATTERN=NUMBER.
absl::StatusOr<Plan> PlanOf(const TrainOptions& options);

}  // namespace fedtune
