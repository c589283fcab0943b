// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/audit_log_check.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <variant>

#include "base/printable_text.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "coordinator/storage/columns.h"
#include "coordinator/storage/log_rows.h"
#include "coordinator/storage/state_database.h"
#include "fmt/format.h"
#include "privacy/audit/log_entry.h"
#include "privacy/audit/log_hasher.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/merkle_tree.h"

namespace fedtune {
namespace {

constexpr size_t kMostProblems = 100;
// Over missing entries: to a place that was changed it may be far.
constexpr uint64_t kMostWalked = uint64_t{1} << 24;
constexpr uint64_t kToldEvery = 1024;  // Entries.
constexpr size_t kBelowStored = size_t{1} << kStoredLevels;

// Hashes of one stored level, until there are enough for one of the next.
struct Gathered {
  std::vector<Digest> hashes;
  bool is_sound = true;  // Nothing was wrong with any of them.
};

class LogCheck {
 public:
  LogCheck(const SqliteDatabase& database, const std::function<absl::Status(double)>& progress)
      : database_(database), progress_(progress) {}

  absl::StatusOr<std::vector<std::string>> Run() {
    // As long as this one has not been read to its end, all is read as of one moment.
    ASSIGN_OR_RETURN(SqliteStatement last, database_.Prepare("SELECT MAX(place) FROM log_entries"));
    RETURN_IF_ERROR(last.Step().status());
    if (!last.IsNull(0)) RETURN_IF_ERROR(CheckEntries(last.Int64(0)));
    RETURN_IF_ERROR(CheckHead());
    RETURN_IF_ERROR(CheckNoMoreHashes());
    RETURN_IF_ERROR(CheckReleases());
    return std::move(problems_);
  }

 private:
  void Note(std::string problem) {
    if (problems_.size() < kMostProblems) problems_.push_back(std::move(problem));
  }

  absl::Status CheckEntries(int64_t last) {
    ASSIGN_OR_RETURN(
        SqliteStatement rows,
        database_.Prepare("SELECT place, leaf, bytes FROM log_entries ORDER BY place"));
    while (true) {
      ASSIGN_OR_RETURN(const bool more, rows.Step());
      if (!more) return absl::OkStatus();
      if (rows.Int64(0) < 0) {
        Note(fmt::format("the audit log has an entry {}, before the first one", rows.Int64(0)));
        continue;
      }
      const auto place = static_cast<uint64_t>(rows.Int64(0));
      if (next_ + kMostWalked < place) {
        NoteMissing(place);
        reaches_the_end_ = false;
        return absl::OkStatus();
      }
      if (next_ < place) RETURN_IF_ERROR(PassOverMissing(place));
      RowReader row(rows);
      row.Int64();
      RETURN_IF_ERROR(CheckEntry(row.Sha256(), rows.Blob(2)));
      if (next_ % kToldEvery == 0) {
        RETURN_IF_ERROR(progress_(static_cast<double>(next_) / static_cast<double>(last + 1)));
      }
    }
  }

  void NoteMissing(uint64_t end) {
    Note(next_ + 1 == end
             ? fmt::format("entry {} of the audit log is missing", next_)
             : fmt::format("entries {} to {} of the audit log are missing", next_, end - 1));
  }

  absl::Status PassOverMissing(uint64_t end) {
    NoteMissing(end);
    faults_.emplace_back(next_, end);
    while (next_ < end) {
      ++next_;
      log_.AddLeaf(Digest());
      RETURN_IF_ERROR(Gather(0, Digest(), /*is_sound=*/false));
    }
    return absl::OkStatus();
  }

  absl::Status CheckEntry(const Digest& leaf, const std::string& bytes) {
    const uint64_t place = next_++;
    const bool is_sound = MerkleLeaf(SpanOf(bytes)) == leaf;
    log_.AddLeaf(leaf);
    if (!is_sound) {
      faults_.emplace_back(place, place + 1);
      Note(fmt::format("entry {} of the audit log was changed: its hash is another one", place));
    } else {
      Understand(place, bytes);
    }
    return Gather(0, leaf, is_sound);
  }

  void Understand(uint64_t place, const std::string& bytes) {
    const absl::StatusOr<LogEntry> entry = ParseLogEntry(bytes);
    if (absl::IsUnimplemented(entry.status())) return;
    if (!entry.ok()) {
      return Note(fmt::format("entry {} of the audit log cannot be read: {}", place,
                              Message(entry.status())));
    }
    if (std::holds_alternative<LogBegun>(entry->event) != (place == 0)) {
      Note(fmt::format("entry {} of the audit log {}", place,
                       place == 0 ? "is not the beginning of a log"
                                  : "says that it begins, and others stand before it"));
    }
    if (const auto* opened = std::get_if<RoundOpened>(&entry->event)) {
      first_rounds_.emplace(opened->run, opened->round);
    }
    if (const auto* released = std::get_if<RoundReleased>(&entry->event)) {
      first_rounds_.emplace(released->run, released->round);
      released_[{released->run, released->round}] = released->adapter;
    }
  }

  // One hash more of a stored level. Hashes of higher ones are compared over stored ones, so
  // that each fault is told of once.
  absl::Status Gather(size_t step, const Digest& hash, bool is_sound) {
    if (gathered_.size() <= step) gathered_.emplace_back();
    Gathered& all = gathered_[step];
    all.hashes.push_back(hash);
    all.is_sound = all.is_sound && is_sound;
    if (all.hashes.size() < kBelowStored) return absl::OkStatus();
    const Gathered full = std::exchange(all, {});
    const int level = static_cast<int>(step + 1) * kStoredLevels;
    const uint64_t index = (next_ >> level) - 1;
    ++hashes_;
    ASSIGN_OR_RETURN(
        SqliteStatement stored,
        database_.Prepare("SELECT hash FROM log_subtrees WHERE level = ? AND place = ?"));
    ASSIGN_OR_RETURN(const bool found, stored.Bind(level).Bind(index).Step());
    if (!found) {
      Note(fmt::format("the audit log lacks the hash of its entries {}", Range(level, index)));
      return Gather(step + 1, Digest(), /*is_sound=*/false);
    }
    const Digest kept = RowReader(stored).Sha256();
    if (full.is_sound && MerkleRoot(full.hashes) != kept) {
      faults_.emplace_back(index << level, (index + 1) << level);
      Note(
          fmt::format("the audit log's entries {} were changed or reordered: their hash is "
                      "another one",
                      Range(level, index)));
    }
    return Gather(step + 1, kept, /*is_sound=*/true);
  }

  static std::string Range(int level, uint64_t index) {
    return fmt::format("{} to {}", index << level, ((index + 1) << level) - 1);
  }

  // Of what was told of already nothing is said again.
  bool IsToldOf(uint64_t begin, uint64_t end) const {
    return std::any_of(faults_.begin(), faults_.end(), [&](const auto& fault) {
      return fault.first < end && begin < fault.second;
    });
  }

  // The subtrees of which the tree consists reach to its last entry.
  absl::Status CheckHead() {
    ASSIGN_OR_RETURN(const int64_t schema, database_.SchemaVersion());
    if (schema < kFirstSchemaWithLogHead || !reaches_the_end_) return absl::OkStatus();
    const absl::StatusOr<std::optional<LogHasher>> head = StoredHead(database_);
    if (absl::IsDataLoss(head.status())) return NoteFault(Message(head.status()));
    RETURN_IF_ERROR(head.status());
    if (!head->has_value()) {
      return next_ == 0
                 ? absl::OkStatus()
                 : NoteFault(
                       "the audit log's head is missing; if the coordinator has not started since "
                       "its upgrade, its next start stores it");
    }
    if ((*head)->size() != next_) {
      are_as_many_as_written_ = false;
      return NoteFault(
          fmt::format("the audit log has {} entries, and {} were written", next_, (*head)->size()));
    }
    CompareSubtrees((*head)->complete());
    return absl::OkStatus();
  }

  absl::Status NoteFault(std::string_view problem) {
    Note(std::string(problem));
    return absl::OkStatus();
  }

  void CompareSubtrees(const std::vector<Digest>& kept) {
    uint64_t begin = 0;
    for (size_t i = 0; i < kept.size(); ++i) {
      const uint64_t end = begin + std::bit_floor(next_ - begin);
      if (log_.complete()[i] != kept[i] && !IsToldOf(begin, end)) {
        Note(
            fmt::format("the audit log's entries {} to {} were changed or reordered: their hash "
                        "is another one",
                        begin, end - 1));
      }
      begin = end;
    }
  }

  // Of entries that are not there any more.
  absl::Status CheckNoMoreHashes() {
    ASSIGN_OR_RETURN(SqliteStatement count, database_.Prepare("SELECT COUNT(*) FROM log_subtrees"));
    RETURN_IF_ERROR(count.Step().status());
    if (are_as_many_as_written_ && static_cast<uint64_t>(count.Int64(0)) > hashes_) {
      Note(fmt::format("the audit log has hashes of entries behind its {}: they were removed",
                       next_));
    }
    return absl::OkStatus();
  }

  // From a run's first round that the log tells of, it tells of all.
  absl::Status CheckReleases() {
    ASSIGN_OR_RETURN(
        SqliteStatement rows,
        database_.Prepare("SELECT run_id, round, adapter FROM releases ORDER BY run_id, round"));
    while (true) {
      ASSIGN_OR_RETURN(const bool more, rows.Step());
      if (!more) break;
      RowReader row(rows);
      const std::string run = row.Text();
      const int64_t round = row.Int64();
      const auto first = first_rounds_.find(run);
      if (first == first_rounds_.end() || round < first->second) continue;
      CheckRelease(run, round, row.Sha256());
    }
    for (const auto& [what, adapter] : released_) {
      Note(fmt::format("the audit log tells of round {} of {}, which the database does not have",
                       what.second + 1, PrintableText(what.first)));
    }
    return absl::OkStatus();
  }

  void CheckRelease(const std::string& run, int64_t round, const Digest& adapter) {
    const auto told = released_.find({run, round});
    if (told == released_.end()) {
      return Note(
          fmt::format("the audit log does not tell of round {} of {}, which the database "
                      "has",
                      round + 1, PrintableText(run)));
    }
    if (told->second != adapter) {
      Note(fmt::format("round {} of {} has made another adapter than the audit log says", round + 1,
                       PrintableText(run)));
    }
    released_.erase(told);
  }

  const SqliteDatabase& database_;
  const std::function<absl::Status(double)>& progress_;
  std::vector<std::string> problems_;
  uint64_t next_ = 0;                                  // Place.
  uint64_t hashes_ = 0;                                // That are to be stored.
  std::vector<Gathered> gathered_;                     // Of levels 0, 8, 16, ...
  LogHasher log_;                                      // Of all that was read.
  std::vector<std::pair<uint64_t, uint64_t>> faults_;  // From and to where.
  bool reaches_the_end_ = true;
  bool are_as_many_as_written_ = true;
  std::map<std::string, int64_t> first_rounds_;
  std::map<std::pair<std::string, int64_t>, Digest> released_;
};

}  // namespace

absl::StatusOr<std::vector<std::string>> ProblemsOfLog(
    const SqliteDatabase& database, const std::function<absl::Status(double)>& progress) {
  return LogCheck(database, progress).Run();
}

}  // namespace fedtune
