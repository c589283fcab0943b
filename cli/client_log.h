// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cli/recorded_run.h"

namespace fedtune {

// A round that an institution was given to work on, as the log of its client has it.
struct LoggedRound {
  int64_t number = 0;   // From 1.
  std::string adapter;  // The first digits of the adapter that it has fetched and hashed.
};

// Of the run `run_id`, in order: what the lines `round assigned` say, of either log_format.
// What stands before (as the journal of a machine puts it) and other lines are passed by.
std::vector<LoggedRound> RoundsInLog(std::string_view log, std::string_view run_id);

// What became of comparing a log with the record of a run.
struct LogComparison {
  int64_t compared = 0;  // Rounds whose adapter both name.
  std::vector<std::string> contradictions;
};

// Each round begins with the adapter that the one before has left. Of round 1, and of rounds
// that the record does not have yet, it says nothing.
LogComparison CompareWithLog(const RecordedRun& run, const std::vector<LoggedRound>& log);

}  // namespace fedtune
