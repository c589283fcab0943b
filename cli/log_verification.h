// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/audit/checkpoint.h"

namespace fedtune {

// What `fedtune log verify` compares, all of it files of this machine.
struct LogFiles {
  std::filesystem::path log;                       // As `fedtune log pull` has written it.
  std::vector<std::filesystem::path> checkpoints;  // That institutions' clients have kept.
  std::vector<std::filesystem::path> records;      // Of runs.
};

// What has been found to be so.
struct LogVerification {
  struct Kept {
    std::filesystem::path file;
    uint64_t entries = 0;  // That it covers: the first of the log.
  };
  struct Recorded {
    std::filesystem::path file;
    std::string run_id;
    int64_t rounds = 0;  // That agree, of
    int64_t of = 0;
  };

  LogCheckpoint checkpoint;
  std::string coordinator;  // That has signed it: its name.
  std::string log_id;
  std::optional<absl::Time> first;
  std::optional<absl::Time> last;
  uint64_t set_back = 0;         // How often an entry's time is before that of the one before it,
  absl::Duration most_set_back;  // and by how much at most.
  uint64_t unknown = 0;          // Entries whose event this program does not know.
  uint64_t runs = 0;
  uint64_t rounds = 0;  // Released, the burnt ones included.
  uint64_t burnt = 0;
  std::vector<Kept> checkpoints;  // In the order given.
  std::vector<Recorded> records;
};

// Whether the log is the one that a coordinator of the authority's federation has signed,
// whole and unchanged; whether its entries have the form and the order that they should
// have (LogOrder); whether it begins with all that each institution's client has seen, and
// agrees with the records. Needs no coordinator. Memory does not grow with the log but for
// its runs. Clocks may be set back: that is told and no fault. `progress` is called with the
// share of the log that has been read.
//
// An error with the exit code 3: anything is not so; the message says all that is not, a line
// each. Exit code 2: a file is not there, or none of its kind. FAILED_PRECONDITION: all is so,
// but a record is of a run that had ended before the log began, so that nothing was compared.
absl::StatusOr<LogVerification> VerifyLog(
    const LogFiles& files, std::string_view authority_pem,
    const std::function<void(double fraction)>& progress = [](double) {});

}  // namespace fedtune
