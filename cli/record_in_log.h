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

  // Each entry of the log, in order; those of other runs are passed by.
  void Follow(const LogEntry& entry);

  // A sentence each, once the log has been followed to its end. None of a run that is older
  // than the log.
  std::vector<std::string> Contradictions() const;

  // Whether the run had ended, by its record, when the log began: the log does not know it,
  // and says nothing for or against the record. Once the log has been followed to its end.
  bool IsOlderThanLog() const;

  // Rounds that both have.
  int64_t compared() const;

  const RecordedRun& run() const { return run_; }

 private:
  std::vector<std::string> CompareStart() const;
  std::vector<std::string> CompareRound(const RecordedRound& round) const;

  RecordedRun run_;
  std::optional<absl::Time> begun_;  // The log.
  std::optional<RunStarted> started_;
  std::map<int64_t, RoundReleased> released_;  // By number, from 1.
};

}  // namespace fedtune
