// SPDX-License-Identifier: Apache-2.0

#include "privacy/audit/log_proof.h"

#include <span>
#include <utility>

#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/merkle_tree.h"

namespace fedtune {
namespace {

// That nothing was seen before is as if an empty log had been.
absl::Status CheckGrown(const std::optional<LogCheckpoint>& seen, const LogCheckpoint& now,
                        std::span<const Digest> consistency) {
  if (!seen.has_value()) return CheckLogConsistency({}, now.head, consistency);
  if (seen->federation != now.federation) {
    return absl::FailedPreconditionError(fmt::format(
        "the log, of {} entries, is of federation {}, and the {} entries that were seen are of "
        "federation {}",
        now.head.size, now.federation, seen->head.size, seen->federation));
  }
  return CheckLogConsistency(seen->head, now.head, consistency);
}

absl::Status CheckIncluded(const LogProof& proof, const LogHead& head) {
  return Annotate(
      CheckMerkleProof(MerkleLeaf(SpanOf(proof.entry)), proof.index, head.size, proof.inclusion,
                       head.root),
      fmt::format("entry {} is not shown to be in the log of {}", proof.index, head.size));
}

}  // namespace

absl::StatusOr<ProvenEntry> VerifyLogProof(const LogProof& proof,
                                           const std::optional<LogCheckpoint>& seen,
                                           std::string_view authority_pem) {
  ASSIGN_OR_RETURN(LogCheckpoint checkpoint, VerifyCheckpoint(proof.checkpoint, authority_pem));
  RETURN_IF_ERROR(CheckGrown(seen, checkpoint, proof.consistency));
  RETURN_IF_ERROR(CheckIncluded(proof, checkpoint.head));
  ASSIGN_OR_RETURN(LogEntry entry, ParseLogEntry(proof.entry));
  return ProvenEntry{.checkpoint = std::move(checkpoint), .entry = std::move(entry)};
}

}  // namespace fedtune
