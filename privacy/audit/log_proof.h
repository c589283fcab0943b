// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "privacy/audit/checkpoint.h"
#include "privacy/audit/log_entry.h"
#include "privacy/audit/log_tree.h"

namespace fedtune {

// What a coordinator answers when it is asked for its log: where the log stands, that it
// still begins with what the asker has seen, and one entry with its place.
struct LogProof {
  SignedCheckpoint checkpoint;
  std::vector<Digest> consistency;  // With the head that the asker has seen.
  std::string entry;                // Its bytes.
  uint64_t index = 0;
  std::vector<Digest> inclusion;
};

// What a proof has shown.
struct ProvenEntry {
  LogCheckpoint checkpoint;
  LogEntry entry;
};

// Whether the answer holds: signed by the authority's coordinator, a log that begins with
// all of `seen`, in which the entry lies.
//
// FAILED_PRECONDITION: the log was rolled back, or is another one than the asker has seen:
// says how long both are. UNIMPLEMENTED: all of this holds, and the entry is of an event
// that a newer program knows. Otherwise the coordinator's answer is no proof:
// INVALID_ARGUMENT, UNAUTHENTICATED, PERMISSION_DENIED, as VerifyCheckpoint(),
// CheckLogConsistency(), CheckMerkleProof() and ParseLogEntry() say.
absl::StatusOr<ProvenEntry> VerifyLogProof(const LogProof& proof,
                                           const std::optional<LogCheckpoint>& seen,
                                           std::string_view authority_pem);

}  // namespace fedtune
