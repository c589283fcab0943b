// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "privacy/audit/checkpoint.h"
#include "proto/fedtune/v1/administration.pb.h"

namespace fedtune {

// Reads a coordinator's log from an entry on: calls `take` with each part until that says
// that it has enough, or the log's end. Errors: as CoordinatorConnection::ReadLog().
using ReadLog = std::function<absl::Status(
    uint64_t from, const std::function<absl::StatusOr<bool>(const v1::LogPart&)>& take)>;

// What a pull goes by.
struct LogPull {
  std::filesystem::path file;
  std::string authority_pem;
  ReadLog read;
  const Clock& clock;
  std::function<void(absl::Duration)> wait;  // Lets time pass on the clock.
  std::stop_token stop = {};
  std::function<void(double fraction, uint64_t entries)> progress = [](double, uint64_t) {};
};

struct PulledLog {
  uint64_t had = 0;  // So many entries the file had before.
  LogCheckpoint checkpoint;
};

// Brings the coordinator's log into the file: its entries up to the checkpoint that it
// signs, hashed as they come. A file that is there already is one that an earlier pull has
// written, with which the log is to begin: what it lacks is added. Memory does not grow with
// the log; the file has its name once it is whole and on the disk, and an earlier one stays
// as it is until then. A line that breaks off, or in which nothing comes any more, is taken up
// again where it was, as Persistence says.
//
// An error with the exit code 3: what came is not what the coordinator has signed, or not
// of this authority; or the log does not begin with the file: says from which entry on
// they differ, and how long both are. Exit code 2: the file is there and is no log.
// CANCELLED: `stop` was requested. RESOURCE_EXHAUSTED: the disk is full. Others as of `read`.
absl::StatusOr<PulledLog> PullLog(const LogPull& pull);

}  // namespace fedtune
