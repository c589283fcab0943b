// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/audit_log.h"

#include <mutex>

#include "base/check.h"
#include "base/status_macros.h"
#include "coordinator/storage/log_rows.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr size_t kMostKnown = 16384;

}  // namespace

// Those of the database, remembered.
class AuditLog::Subtrees final : public SubtreeHashes {
 public:
  explicit Subtrees(const AuditLog& log) : log_(log), stored_(log.state_->connection) {}

  absl::StatusOr<Digest> Hash(int level, uint64_t index) const override {
    auto& known = log_.known_;
    const auto found = known.find({level, index});
    if (found != known.end()) return found->second;
    ASSIGN_OR_RETURN(const Digest hash, stored_.Hash(level, index));
    if (known.size() >= kMostKnown) known.clear();
    known.emplace(std::pair(level, index), hash);
    return hash;
  }

 private:
  const AuditLog& log_;
  const StoredSubtrees stored_;
};

absl::StatusOr<LogHead> AuditLog::Head() const {
  const std::lock_guard lock(state_->mutex);
  return ReadHead();
}

absl::StatusOr<LogHead> AuditLog::ReadHead() const {
  ASSIGN_OR_RETURN(const uint64_t size, SizeOfLog(state_->connection));
  if (size != 0 && size == head_.size) return head_;
  ASSIGN_OR_RETURN(const Digest root, LogRoot(Subtrees(*this), size));
  head_ = {.size = size, .root = root};
  return head_;
}

absl::StatusOr<AuditLog::Proof> AuditLog::ProveStart(const std::string& run,
                                                     uint64_t seen_size) const {
  return Prove(SubjectOfStart(run), seen_size);
}

absl::StatusOr<AuditLog::Proof> AuditLog::ProveOpening(const std::string& run, int64_t round,
                                                       int64_t attempt, uint64_t seen_size) const {
  return Prove(SubjectOfOpening(run, round, attempt), seen_size);
}

absl::StatusOr<AuditLog::Proof> AuditLog::Prove(const std::string& subject,
                                                uint64_t seen_size) const {
  const std::lock_guard lock(state_->mutex);
  ASSIGN_OR_RETURN(SqliteStatement row,
                   state_->connection.Prepare("SELECT place, bytes FROM log_entries "
                                              "WHERE subject = ? ORDER BY place DESC LIMIT 1"));
  ASSIGN_OR_RETURN(const bool found, row.Bind(subject).Step());
  if (!found) return absl::NotFoundError("the coordinator's log has no such entry");
  return ProveFound(row, seen_size);
}

absl::StatusOr<AuditLog::Proof> AuditLog::ProveBeginning(uint64_t seen_size) const {
  const std::lock_guard lock(state_->mutex);
  ASSIGN_OR_RETURN(
      SqliteStatement row,
      state_->connection.Prepare("SELECT place, bytes FROM log_entries WHERE place = 0"));
  ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) return absl::NotFoundError("the coordinator's log is empty");
  return ProveFound(row, seen_size);
}

absl::StatusOr<AuditLog::Proof> AuditLog::ProveFound(const SqliteStatement& entry,
                                                     uint64_t seen_size) const {
  Proof proof = {.head = {},
                 .consistency = {},
                 .entry = entry.Blob(1),
                 .index = static_cast<uint64_t>(entry.Int64(0)),
                 .inclusion = {}};
  ASSIGN_OR_RETURN(proof.head, ReadHead());
  const Subtrees subtrees(*this);
  ASSIGN_OR_RETURN(proof.inclusion, LogInclusionProof(subtrees, proof.index, proof.head.size));
  if (seen_size <= proof.head.size) {
    ASSIGN_OR_RETURN(proof.consistency, LogConsistencyProof(subtrees, seen_size, proof.head.size));
  }
  return proof;
}

absl::StatusOr<std::vector<std::string>> AuditLog::Entries(uint64_t from, uint64_t end,
                                                           size_t most_bytes) const {
  Check(from < end, "there are entries to be read");
  const std::lock_guard lock(state_->mutex);
  ASSIGN_OR_RETURN(SqliteStatement rows,
                   state_->connection.Prepare("SELECT place, bytes FROM log_entries "
                                              "WHERE place BETWEEN ? AND ? ORDER BY place"));
  rows.Bind(from).Bind(end - 1);
  std::vector<std::string> entries;
  for (size_t bytes = 0; from + entries.size() < end && bytes < most_bytes;
       bytes += entries.back().size()) {
    ASSIGN_OR_RETURN(const bool more, rows.Step());
    const uint64_t place = from + entries.size();
    if (!more || static_cast<uint64_t>(rows.Int64(0)) != place) {
      return absl::DataLossError(fmt::format("the audit log lacks its entry {}", place));
    }
    entries.push_back(rows.Blob(1));
  }
  return entries;
}

}  // namespace fedtune
