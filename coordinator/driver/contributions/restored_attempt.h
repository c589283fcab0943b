// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/logging.h"
#include "coordinator/driver/contributions/handed_in.h"
#include "coordinator/rounds/names.h"
#include "coordinator/rounds/round_journal.h"
#include "coordinator/rounds/run_events.h"
#include "coordinator/storage/spool.h"
#include "plan/plan.h"

namespace fedtune {

// A contribution that an earlier process took. Large ones have not been read yet.
struct RestoredContribution {
  Institution from;
  ContributionHeader header;
  ContributionBody body;
};

// What an earlier process has left of a run's open attempt.
struct RestoredAttempt {
  std::vector<JournalEntry> journal = {};  // What counts of it, in order; never empty.
  std::vector<RestoredContribution> contributions = {};  // In the journal's order.
  std::string lost = "";                                 // As ResumePoint::lost.
};

// Reads the stored `journal` and finds its contributions in the spool; what else the run
// has there is removed, but for uploads to this attempt that were cut off. A contribution
// that is lost is in the log. A plain one is left out then, to be asked for again; in a
// secure round another one may not take its place, and `lost` says so.
//
// DATA_LOSS: the journal is damaged, or nothing of it is left.
absl::StatusOr<RestoredAttempt> RestoreAttempt(const RunId& id, const Plan& plan,
                                               const std::vector<std::string>& journal,
                                               const Spool& spool, Log& log);

}  // namespace fedtune
