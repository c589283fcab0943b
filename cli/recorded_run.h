// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// A round that is over, as the record has it.
struct RecordedRound {
  int64_t number = 0;  // From 1.
  Digest adapter;      // After it.
  std::string burnt;   // Why it has left the adapter as it was; empty: it has made it.
  std::optional<int64_t> attempts = std::nullopt;
  std::optional<int64_t> contributions = std::nullopt;
};

// The record of a run: what `fedtune run show RUN --json` has printed, as somebody kept it.
struct RecordedRun {
  std::string run_id;
  std::string base_model;
  std::string base_digest;
  int64_t rounds_done = 0;
  Digest adapter;        // The newest.
  Digest layout_digest;  // Of the layout that all its adapters have.
  std::vector<RecordedRound> rounds;
  std::optional<Digest> plan = std::nullopt;       // Of its text.
  std::optional<absl::Time> ended = std::nullopt;  // Absent: it had not, or is not told.
};

// Texts in it are made printable. INVALID_ARGUMENT: `text` is no such record; the message begins
// with `source`.
absl::StatusOr<RecordedRun> ParseRecordedRun(std::string_view text, std::string_view source);

// Where the record contradicts itself, a sentence each: rounds that are missing or come
// twice, a burnt round that has made an adapter, a newest adapter that is not the last
// round's. Whoever changes one place of it must change others.
std::vector<std::string> Contradictions(const RecordedRun& run);

// The round that has made the adapter that the run had after `round`: earlier, if that one
// burnt. 0: none, it is the initial one. Requires: the record does not contradict itself.
int64_t MakerOf(const RecordedRun& run, int64_t round);

}  // namespace fedtune
