// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace fedtune::bench {

// A coordinator in a process of its own, as in production. Ended, with its
// state left behind, when the object goes.
class CoordinatorProcess {
 public:
  // Starts `program` on a free port of loopback with everything in `state`,
  // where keys/ and the signing roster must be complete. Its log is state/log.
  static absl::StatusOr<std::unique_ptr<CoordinatorProcess>> Start(
      const std::filesystem::path& program, const std::filesystem::path& state);

  // Where Start() looks for the roster.
  static std::filesystem::path RosterIn(const std::filesystem::path& state) {
    return state / "roster.json";
  }

  CoordinatorProcess(const CoordinatorProcess&) = delete;
  CoordinatorProcess& operator=(const CoordinatorProcess&) = delete;
  ~CoordinatorProcess();

  int port() const { return port_; }

  // Processor time of all its threads so far.
  absl::StatusOr<absl::Duration> CpuTime() const;

  // The most memory it ever had, in bytes.
  absl::StatusOr<uint64_t> PeakMemory() const;

 private:
  CoordinatorProcess(pid_t pid, int port) : pid_(pid), port_(port) {}

  const pid_t pid_;
  const int port_;
};

}  // namespace fedtune::bench
