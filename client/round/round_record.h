// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregation/adapter_layout.h"
#include "client/round/messages.h"
#include "client/training/training_state.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// Everything that a client's work for a round depends on: equal inputs give equal
// work. The attempt is not among them, and must never be: which records a step
// takes, its learning rate and so the trained bytes are functions of the round. What
// was done for one attempt is therefore handed in for any other at the same round;
// keys and masks are another matter (SecureSubmission), and are never stored here.
struct RoundInputs {
  std::string run = {};
  int64_t round = 0;
  Digest adapter = {};  // That is trained from.
  FactorSet factors = FactorSet::kBoth;
  bool evaluate = false;
  bool evaluate_only = false;
  Digest plan = {};             // Of its text.
  std::string base_model = {};  // Its digest, "sha256:..."
  Digest layout = {};
  Digest records = {};  // Of institution and tokens; see RecordsDigest().

  friend bool operator==(const RoundInputs&, const RoundInputs&) = default;
};

// FAILED_PRECONDITION: `stored` has another input than `wanted`; says which.
absl::Status CheckSameInputs(const RoundInputs& stored, const RoundInputs& wanted);

// A round's work on the way.
struct RoundCheckpoint {
  RoundInputs inputs = {};
  std::optional<EvaluationResult> before = {};  // Only if the inputs ask for it.
  std::optional<TrainingState> training = {};   // Absent before the first step.

  friend bool operator==(const RoundCheckpoint&, const RoundCheckpoint&) = default;
};

// A round's work when it is done: all of a contribution but for its attempt.
struct RoundResult {
  RoundInputs inputs = {};
  std::vector<float> delta = {};  // Empty if nothing was to be trained.
  LocalMetrics metrics = {};

  friend bool operator==(const RoundResult&, const RoundResult&) = default;
};

// INVALID_ARGUMENT: its delta has another number of values than the layout and its
// inputs say, or one that is not finite.
absl::Status CheckFits(const RoundResult& result, const AdapterLayout& layout);

// How they are stored: a header, which says what it is of and in which version, then
// the values as they are in memory. A field more needs a version more; older versions
// are refused, which costs a round's work once.
class RoundRecord {
 public:
  // They must outlive the record and stay as they are.
  static RoundRecord Of(const RoundCheckpoint& checkpoint);
  static RoundRecord Of(const RoundResult& result);

  // The stored bytes are these, one after the other.
  std::vector<ByteSpan> parts() const;

 private:
  explicit RoundRecord(Bytes header) : header_(std::move(header)) {}

  Bytes header_;
  std::vector<std::span<const float>> values_;
};

// What Of() was given, from the stored bytes, whoever wrote them. Whether the values
// fit a layout is for the caller to see.
//
// INVALID_ARGUMENT: not such a record, or of another version.
absl::StatusOr<RoundCheckpoint> ParseCheckpoint(ByteSpan bytes);
absl::StatusOr<RoundResult> ParseResult(ByteSpan bytes);

}  // namespace fedtune
