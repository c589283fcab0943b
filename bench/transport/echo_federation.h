// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace fedtune::bench {

// How much travels.
struct Load {
  int clients = 10;         // That a round asks.
  int idle = 0;             // More that are connected; rounds choose among all.
  int64_t megabytes = 100;  // Of 10^6 bytes, about: each way for each client.
  int64_t tensors = 100;
  int64_t rounds = 6;
  bool secure = false;        // By secure aggregation; at least 4 clients.
  absl::Duration delay = {};  // Of all bytes between clients and coordinator, each way.
};

struct EchoRounds {
  std::vector<absl::Duration> rounds;    // All but the first.
  absl::Duration cpu_per_round;          // The coordinator's, mean over these.
  absl::Duration clients_cpu_per_round;  // All clients', likewise.
  uint64_t peak_memory = 0;              // The coordinator's, in bytes.
  uint64_t adapter_bytes = 0;            // What `megabytes` came to.
};

// Sets up a federation in a fresh folder, a `coordinator` in a process of its
// own with clients of this process over mutual TLS, runs the rounds with clients
// that send back what they get, and ends it all. A round takes from its first
// assignment to that of the next one.
absl::StatusOr<EchoRounds> RunEchoFederation(const std::filesystem::path& coordinator,
                                             const Load& load);

}  // namespace fedtune::bench
