// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/storage/state_database.h"
#include "privacy/audit/log_tree.h"

namespace fedtune {

// Reads the audit log, which the stores write with each change (log_rows.h), out of the
// coordinator's database. What it says is on the disk. Thread-safe.
//
// Errors as in base/sqlite/sqlite.h; DATA_LOSS also: the log lacks rows.
class AuditLog {
 public:
  explicit AuditLog(std::shared_ptr<StateDatabase> state) : state_(std::move(state)) {}

  absl::StatusOr<LogHead> Head() const;

  // An entry, and what shows that it is in a log that begins with what was seen.
  struct Proof {
    LogHead head;
    std::vector<Digest> consistency;  // Empty if more was seen than there is.
    std::string entry;
    uint64_t index = 0;
    std::vector<Digest> inclusion;
  };

  // That a run was started; or that an attempt at a round, counted from 0, was opened, the
  // last time if it was more than once. NOT_FOUND: the log does not say so.
  absl::StatusOr<Proof> ProveStart(const std::string& run, uint64_t seen_size) const;
  absl::StatusOr<Proof> ProveOpening(const std::string& run, int64_t round, int64_t attempt,
                                     uint64_t seen_size) const;

  // Its first entry. NOT_FOUND: the log is empty.
  absl::StatusOr<Proof> ProveBeginning(uint64_t seen_size) const;

  // The bytes of entries from place `from` on, before `end`: as many as have about
  // `most_bytes`, and one at least. Requires: there are `end` entries, and from < end.
  absl::StatusOr<std::vector<std::string>> Entries(uint64_t from, uint64_t end,
                                                   size_t most_bytes) const;

 private:
  class Subtrees;

  absl::StatusOr<Proof> Prove(const std::string& subject, uint64_t seen_size) const;

  // With the database's mutex held, as the others.
  absl::StatusOr<Proof> ProveFound(const SqliteStatement& entry, uint64_t seen_size) const;
  absl::StatusOr<LogHead> ReadHead() const;

  const std::shared_ptr<StateDatabase> state_;
  // Guarded by the database's mutex. Hashes of complete subtrees never change, and most
  // who ask, ask for the same ones.
  mutable std::map<std::pair<int, uint64_t>, Digest> known_;
  mutable LogHead head_;
};

}  // namespace fedtune
