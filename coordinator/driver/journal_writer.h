// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/rounds/round_journal.h"
#include "coordinator/storage/run_store.h"

namespace fedtune {

// The journal of a run's open attempt on its way into the store. Entries wait until
// something is to be done that follows from them, or many wait: what nobody has heard
// of yet may be lost, and is asked for again. Not thread-safe.
class JournalWriter {
 public:
  // A run that goes on: `stored` entries are there, the last that counts of `at`.
  void GoOn(absl::Duration now, absl::Duration at, uint64_t stored) {
    opened_at_ = now - at;
    next_ = stored;
    is_open_ = true;
  }

  struct Attempt {
    int64_t round = 0;
    int64_t attempt = 0;
  };

  // Whose opening waits to be stored, and never will be if another one begins, or the run ends.
  std::optional<Attempt> unstored() const {
    return opening_.has_value() ? std::optional(opened_) : std::nullopt;
  }

  // A new attempt begins; what waits belongs to the one before it.
  void Open(absl::Duration now, AttemptOpened opened) {
    opened_at_ = now;
    is_open_ = true;
    opened_ = {.round = opened.round, .attempt = opened.attempt};
    opening_ = ToBytes({.at = absl::ZeroDuration(), .what = std::move(opened)});
    next_ = 1;
    waiting_.clear();
  }

  // The round is released, or the run has ended: the store has dropped the journal.
  void Close() {
    is_open_ = false;
    opening_.reset();
    waiting_.clear();
  }

  // Outside of attempts nothing is noted.
  void Note(absl::Duration now, decltype(JournalEntry::what) what, std::string spool_file = "",
            std::optional<SpooledContent> content = std::nullopt) {
    if (!is_open_) return;
    waiting_.push_back(ToBytes({.at = now - opened_at_,
                                .what = std::move(what),
                                .spool_file = std::move(spool_file),
                                .number = next_++,
                                .content = std::move(content)}));
  }

  bool is_open() const { return is_open_; }

  // Takes back the last `count` of Note(), which Store() could not store.
  void Forget(size_t count) {
    waiting_.resize(waiting_.size() - count);
    next_ -= count;
  }

  // Whether so much waits that it is not to wait for anything else.
  bool is_long() const { return waiting_.size() > kMostWaiting; }

  // Stores all that waits. Errors as RunStore; everything waits on then.
  absl::Status Store(RunStore& store, const RunId& id) {
    if (opening_.has_value()) {
      absl::Status opened = store.OpenJournal(id, opened_.attempt, *opening_);
      if (!opened.ok()) return opened;
      opening_.reset();
    }
    if (waiting_.empty()) return absl::OkStatus();
    absl::Status stored = store.AppendToJournal(id, waiting_);
    if (stored.ok()) waiting_.clear();
    return stored;
  }

 private:
  static constexpr size_t kMostWaiting = 1'000;

  bool is_open_ = false;
  absl::Duration opened_at_;
  Attempt opened_;
  uint64_t next_ = 0;                   // Number of the next entry.
  std::optional<std::string> opening_;  // Not stored yet.
  std::vector<std::string> waiting_;
};

}  // namespace fedtune
