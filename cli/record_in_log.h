// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/recorded_run.h"
#include "privacy/audit/log_entry.h"

namespace fedtune {

// Whether a run's record agrees with what the coordinator's log says of the run: its plan,
// base model and layout, and each round's attempt, contributions and adapter, and why it
// burnt. The log may know of more rounds, as it goes on, and of none of before it began.
// Not thread-safe.
class RecordInLog {
 public:
  // Requires: the record does not contradict itself.
  explicit RecordInLog(RecordedRun run) : run_(std::move(run)) {}

  // Each event of the log, in order; those of other runs are passed by.
  void Follow(const LogEvent& event);

  // A sentence each, once the log has been followed to its end.
  std::vector<std::string> Contradictions() const;

  // Rounds that both have.
  int64_t compared() const;

  const RecordedRun& run() const { return run_; }

 private:
  std::vector<std::string> CompareStart() const;
  std::vector<std::string> CompareRound(const RecordedRound& round) const;

  RecordedRun run_;
  std::optional<RunStarted> started_;
  std::map<int64_t, RoundReleased> released_;  // By number, from 1.
};

}  // namespace fedtune
