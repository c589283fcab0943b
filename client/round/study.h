// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/policy/policy.h"
#include "client/round/base_model_shelf.h"
#include "client/round/log_witness.h"
#include "client/round/memory_fit.h"
#include "client/round/messages.h"
#include "client/round/run_material.h"
#include "client/round/secure_membership.h"
#include "client/round/workshop.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// An institution's records as a base model's tokens.
struct LocalRecords {
  std::vector<TokenizedRecord> training;
  std::vector<TokenizedRecord> validation;
  std::vector<std::vector<int32_t>> choices;
};

// Changes with any token or target of the records, their order, or the institution,
// on which the order depends in which they are trained on.
Digest RecordsDigest(std::string_view institution, const LocalRecords& records);

// Reads and tokenizes the institution's data sets for one plan.
using RecordLoader = std::function<absl::StatusOr<LocalRecords>(
    const std::filesystem::path& base_model, const TrainingPlan& plan)>;

// JoinSecureRun() with what this institution has.
using RosterJoiner = std::function<absl::StatusOr<SecureMembership>(std::string_view roster_text,
                                                                    CipherSuite suite)>;

// Told how a run's training fits into memory.
using MemoryObserver = std::function<void(const std::string& run, const MemoryFit& fit)>;

// Told why a run is declined, or its training has failed, where the coordinator is told less.
using RefusalObserver = std::function<void(const std::string& run, const absl::Status& why)>;

// What an institution brings to a run.
struct Site {
  std::string institution;
  Policy policy;
  BaseModelShelf& base_models;
  RecordLoader load_records;
  RosterJoiner join_secure_run;
  MemoryBudget memory = {};
  bool trains_on_gpu = false;
  MemoryObserver observe_memory = {};    // May be empty.
  RefusalObserver observe_refusal = {};  // May be empty.
  WorkObserver observe_work = {};        // May be empty. Told all, as it stays here.
  LogWitness* log_witness = nullptr;     // Null: nobody looks at the coordinator's log.
};

// Everything that the run needs here; or, as the status' message, why the
// institution declines it: the plan cannot be read, the base model is missing,
// the layout is not what the plan's targets give on that base model, the policy
// forbids it, it is a secure run and the institution cannot join its roster,
// there is no record to train on, or memory does not suffice (FitIntoMemory()). Where
// the coordinator is not to know how many records there are, the last two say no
// number.
absl::StatusOr<RunMaterial> StudyRun(const Site& site, const Invitation& invitation);

}  // namespace fedtune
