// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/log_rows.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <span>
#include <variant>

#include "base/check.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "coordinator/storage/columns.h"
#include "fmt/format.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/merkle_tree.h"

namespace fedtune {
namespace {

std::optional<std::string> SubjectOf(const LogEvent& event) {
  if (const auto* started = std::get_if<RunStarted>(&event)) return SubjectOfStart(started->run);
  if (const auto* opened = std::get_if<RoundOpened>(&event)) {
    return SubjectOfOpening(opened->run, opened->round, opened->attempt);
  }
  return std::nullopt;
}

// Of a log that was written before its head was stored.
absl::StatusOr<LogHasher> HeadFromEntries(const SqliteDatabase& database, uint64_t size) {
  const StoredSubtrees subtrees(database);
  std::vector<Digest> complete;
  for (int level = std::bit_width(size) - 1; level >= 0; --level) {
    if ((size >> level) % 2 == 0) continue;
    ASSIGN_OR_RETURN(const Digest hash, subtrees.Hash(level, (size >> level) - 1));
    complete.push_back(hash);
  }
  return LogHasher::GoOnFrom(size, std::move(complete));
}

absl::StatusOr<LogHasher> HeadToGoOnFrom(const SqliteDatabase& database) {
  ASSIGN_OR_RETURN(const uint64_t size, SizeOfLog(database));
  ASSIGN_OR_RETURN(std::optional<LogHasher> head, StoredHead(database));
  if (!head.has_value()) return HeadFromEntries(database, size);
  if (head->size() == size) return *std::move(head);
  return absl::DataLossError(fmt::format(
      "the audit log has {} entries, and {} were written; fedtune-coordinator check says more",
      size, head->size()));
}

}  // namespace

std::string SubjectOfStart(std::string_view run) { return std::string(run); }

std::string SubjectOfOpening(std::string_view run, int64_t round, int64_t attempt) {
  return fmt::format("{}/{}/{}", run, round, attempt);
}

absl::StatusOr<uint64_t> SizeOfLog(const SqliteDatabase& database) {
  ASSIGN_OR_RETURN(SqliteStatement last, database.Prepare("SELECT MAX(place) FROM log_entries"));
  RETURN_IF_ERROR(last.Step().status());
  return last.IsNull(0) ? 0 : static_cast<uint64_t>(last.Int64(0)) + 1;
}

absl::StatusOr<std::optional<LogHasher>> StoredHead(const SqliteDatabase& database) {
  ASSIGN_OR_RETURN(SqliteStatement row, database.Prepare("SELECT size, complete FROM log_head"));
  ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) return std::nullopt;
  const std::string bytes = row.Blob(1);
  std::vector<Digest> complete(bytes.size() / sizeof(Digest::bytes));
  for (size_t i = 0; i < complete.size(); ++i) {
    const size_t from = i * sizeof(Digest::bytes);
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(from), sizeof(Digest::bytes),
                complete[i].bytes.begin());
  }
  absl::StatusOr<LogHasher> head =
      LogHasher::GoOnFrom(static_cast<uint64_t>(row.Int64(0)), std::move(complete));
  if (head.ok()) return *std::move(head);
  return absl::DataLossError(
      fmt::format("the audit log's head was changed: {}", Message(head.status())));
}

absl::StatusOr<Digest> StoredSubtrees::Hash(int level, uint64_t index) const {
  if (level % kStoredLevels != 0) return FromBelow(level, index);
  ASSIGN_OR_RETURN(const std::vector<Digest> one, Stored(level, index, 1));
  return one.front();
}

// A complete subtree's hash is the root over those of a lower level.
absl::StatusOr<Digest> StoredSubtrees::FromBelow(int level, uint64_t index) const {
  Check(level > 0, "there is nothing below a leaf");
  const int below = (level - 1) / kStoredLevels * kStoredLevels;
  const int between = level - below;
  ASSIGN_OR_RETURN(const std::vector<Digest> hashes,
                   Stored(below, index << between, uint64_t{1} << between));
  return MerkleRoot(hashes);
}

absl::StatusOr<std::vector<Digest>> StoredSubtrees::Stored(int level, uint64_t first,
                                                           uint64_t count) const {
  ASSIGN_OR_RETURN(SqliteStatement rows,
                   database_.Prepare(level == 0 ? "SELECT leaf FROM log_entries WHERE place "
                                                  "BETWEEN ?1 AND ?2 AND ?3 = 0 ORDER BY place"
                                                : "SELECT hash FROM log_subtrees WHERE place "
                                                  "BETWEEN ?1 AND ?2 AND level = ?3 ORDER BY "
                                                  "place"));
  rows.Bind(first).Bind(first + count - 1).Bind(level);
  std::vector<Digest> hashes;
  hashes.reserve(count);
  while (true) {
    ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) break;
    hashes.push_back(RowReader(rows).Sha256());
  }
  if (hashes.size() == count) return hashes;
  return absl::DataLossError(fmt::format(
      "the audit log lacks hashes of entries {} to {}; fedtune-coordinator check says more",
      first << level, ((first + count) << level) - 1));
}

absl::StatusOr<LogWriter> LogWriter::Begin(SqliteDatabase& database, absl::Time at) {
  ASSIGN_OR_RETURN(LogHasher log, HeadToGoOnFrom(database));
  ASSIGN_OR_RETURN(SqliteStatement insert,
                   database.Prepare("INSERT INTO log_entries VALUES (?, ?, ?, ?)"));
  return LogWriter(database, std::move(insert), std::move(log),
                   absl::FromUnixMillis(absl::ToUnixMillis(at)));
}

absl::Status LogWriter::Append(LogEvent event) {
  const std::optional<std::string> subject = SubjectOf(event);
  const std::string bytes = WriteLogEntry({.at = at_, .event = std::move(event)});
  const Digest leaf = MerkleLeaf(SpanOf(bytes));
  insert_.Reset();
  insert_.Bind(log_.size()).Bind(ToColumn(leaf)).Bind(subject).BindBlob(bytes);
  RETURN_IF_ERROR(insert_.Step().status());
  log_.AddLeaf(leaf);
  RETURN_IF_ERROR(StoreSubtrees());
  return StoreHead();
}

absl::Status LogWriter::StoreHead() {
  std::string complete;
  for (const Digest& hash : log_.complete()) complete += hash.ToBinary();
  ASSIGN_OR_RETURN(SqliteStatement head,
                   database_->Prepare("INSERT INTO log_head VALUES (1, ?, ?) ON CONFLICT DO UPDATE "
                                      "SET size = excluded.size, complete = excluded.complete"));
  return head.Bind(log_.size()).BindBlob(complete).Step().status();
}

// Those that the last entry has completed.
absl::Status LogWriter::StoreSubtrees() {
  const StoredSubtrees subtrees(*database_);
  for (int level = kStoredLevels; log_.size() % (uint64_t{1} << level) == 0;
       level += kStoredLevels) {
    const uint64_t index = (log_.size() >> level) - 1;
    ASSIGN_OR_RETURN(const Digest hash, subtrees.FromBelow(level, index));
    RETURN_IF_ERROR(
        database_->Run("INSERT INTO log_subtrees VALUES (?, ?, ?)", level, index, ToColumn(hash)));
  }
  return absl::OkStatus();
}

}  // namespace fedtune
