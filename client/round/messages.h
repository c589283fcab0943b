// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "aggregation/adapter_layout.h"
#include "aggregation/evaluation_result.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// One attempt at one round of one run.
struct AttemptId {
  std::string run = {};
  int64_t round = 0;    // Counted from 0.
  int64_t attempt = 1;  // Counted from 1.

  friend auto operator<=>(const AttemptId&, const AttemptId&) = default;
};

// ---- How both greet each other ----

struct DeviceDescription {
  std::string kind = {};  // "cpu" or "cuda:0".
  std::string name = {};  // As the vendor names it.
  uint64_t memory_bytes = 0;
  uint32_t threads = 0;
};

struct DatasetSize {
  std::string name = {};
  int64_t example_count = 0;  // Records that can be trained on.
};

struct Greeting {
  std::string client_version = {};
  DeviceDescription device = {};
  std::vector<DatasetSize> datasets = {};
};

struct Welcome {
  std::string federation = {};
  std::string institution = {};  // That our certificate names.
  std::string coordinator_version = {};
  // What is kept of other runs is not needed any more; none: the coordinator does not say.
  std::optional<std::vector<std::string>> runs_under_way = {};
};

// ---- What both say in a secure aggregation ----

// A message of the protocol of privacy/secure_aggregation, to or from this client.
struct SecureMessage {
  AttemptId id = {};
  Bytes message = {};

  friend bool operator==(const SecureMessage&, const SecureMessage&) = default;
};

// ---- What the coordinator asks ----

struct Invitation {
  std::string run = {};
  std::string plan_toml = {};
  std::string layout_json = {};
  std::string base_digest = {};     // "sha256:..."
  std::string signing_roster = {};  // Its text; only of runs that aggregate securely.

  friend bool operator==(const Invitation&, const Invitation&) = default;
};

struct Assignment {
  AttemptId id = {};
  Digest adapter = {};  // The global adapter to start from.
  FactorSet factors = FactorSet::kBoth;
  bool evaluate = false;
  bool evaluate_only = false;     // Nothing to train.
  absl::Duration time_left = {};  // When it was received.
};

// The attempt needs nothing more from this client.
struct RoundOver {
  AttemptId id = {};
  std::string reason = {};
};

// No round is opened until further notice, or again; the open one goes on.
struct RunPause {
  std::string run = {};
  bool paused = true;
  std::string reason = {};
};

struct RunOver {
  std::string run = {};
  std::string state = {};  // "finished", "stopped" or "failed".
  std::string reason = {};
};

using Instruction =
    std::variant<Invitation, Assignment, RoundOver, RunPause, RunOver, SecureMessage>;

// ---- What the client answers ----

struct InvitationAnswer {
  std::string run = {};
  bool accepted = false;
  std::string reason = {};  // For the administrator; set when declined.
  bool may_pass = false;    // Why it is declined: something that is not there now.
  // If so, by what somebody here does, who waits for the client to notice.
  bool passes_by_hand = false;
  // And that is the coordinator's log, which is not the one that was seen here.
  bool refuses_log = false;
  int64_t example_count = 0;  // 0 in secure runs: nobody is to know.
  bool secure = false;        // Contributions are handed in by secure aggregations.

  friend bool operator==(const InvitationAnswer&, const InvitationAnswer&) = default;
};

enum class WorkPhase : uint8_t { kDownloading, kEvaluating, kTraining, kUploading, kWaiting };

// "downloading", ...
std::string_view ToString(WorkPhase phase);

struct WorkProgress {
  AttemptId id = {};
  WorkPhase phase = WorkPhase::kWaiting;
  double fraction = 0;  // Of the phase.
  double tokens_per_second = 0;
  std::string note = {};  // Why, while waiting.

  friend bool operator==(const WorkProgress&, const WorkProgress&) = default;
};

struct AttemptFailed {
  AttemptId id = {};
  std::string reason = {};  // For the administrator.
  // Up to which of the run's rounds, counted from 1, this institution has agreed on
  // survivors, if that is why; it will agree in none of them again.
  int64_t agreed_rounds = 0;

  friend bool operator==(const AttemptFailed&, const AttemptFailed&) = default;
};

using Reply = std::variant<InvitationAnswer, WorkProgress, AttemptFailed, SecureMessage>;

// ---- What the client hands in ----

struct LocalMetrics {
  double training_loss = 0;  // Mean per answer token over the steps.
  int64_t steps = 0;
  int64_t token_count = 0;
  std::vector<int64_t> routed_tokens = {};  // Of each routed expert, layer by layer.
  absl::Duration training_time = {};
  std::optional<EvaluationResult> before = {};
  std::optional<EvaluationResult> after = {};

  friend bool operator==(const LocalMetrics&, const LocalMetrics&) = default;
};

struct Contribution {
  AttemptId id = {};
  Digest adapter = {};  // That was trained from.
  Digest layout = {};   // Of the layout's JSON.
  FactorSet factors = FactorSet::kBoth;
  bool evaluate_only = false;     // Nothing was trained.
  std::vector<float> delta = {};  // The tensors of `factors` in layout order.
  LocalMetrics metrics = {};
};

// The same in a secure round: masked, with the metrics inside.
struct MaskedContribution {
  AttemptId id = {};
  Digest adapter = {};
  Digest layout = {};
  FactorSet factors = FactorSet::kBoth;
  Bytes elements = {};  // Packed as they travel.
  Bytes manifest = {};  // The protocol's message InputManifest.
};

}  // namespace fedtune
