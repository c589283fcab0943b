// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "aggregation/adapter_layout.h"
#include "aggregation/round_counters.h"
#include "client/data/tokenized_record.h"
#include "client/round/secure_membership.h"
#include "plan/base_model_digest.h"
#include "plan/plan.h"
#include "privacy/crypto/sha256.h"
#include "privacy/secure_aggregation/client_session.h"

namespace fedtune {

// What a client holds for one run from its acceptance to its end.
struct RunMaterial {
  Plan plan;
  AdapterLayout layout;
  Digest layout_digest;
  RoutingShape routing;  // Of the base model; no experts: nothing is counted.
  std::filesystem::path base_model;
  std::vector<ModelFile> base_model_files;  // Of which the digest is known.
  std::string plan_toml;
  std::string base_digest;

  // In a secure run: what its rounds are begun with.
  std::optional<SecureMembership> membership;
  CohortFloor floor;

  int64_t recomputed_layers = 0;  // As TrainingRequest has it.

  bool tells_counts = true;  // The coordinator may know how many records there are.

  std::vector<TokenizedRecord> training;
  std::vector<TokenizedRecord> validation;    // May be empty.
  std::vector<std::vector<int32_t>> choices;  // Answers of `validation`; empty: free text.
  Digest records_digest = {};                 // Of the institution and both.

  // Which of the records a step trains on; it is counted over all rounds. Call
  // it from one thread at a time.
  std::function<std::vector<int64_t>(int64_t global_step)> batch;
};

}  // namespace fedtune
