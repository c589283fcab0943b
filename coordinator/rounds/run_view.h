// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/rounds/names.h"
#include "coordinator/rounds/round_summary.h"
#include "coordinator/rounds/run_events.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// Where one institution stands in a run, for people.
enum class ClientStanding : uint8_t {
  kInvited,
  kDeclined,
  kRefusing,  // Declined, as the coordinator's log is not the one that it has seen.
  kWaiting,   // Accepted; nothing is asked of it now, or it waits itself (says why).
  kDownloading,
  kEvaluating,
  kTraining,
  kUploading,
  kDone,    // With the current round, or with the run.
  kFailed,  // In the current round.
  kOffline,
};

// "invited", "declined", ...
std::string_view ToString(ClientStanding state);

struct ClientView {
  Institution institution;
  ClientStanding state = ClientStanding::kInvited;
  std::string reason;  // Why it declined, failed or waits.
  double fraction = 0;
  double tokens_per_second = 0;
  int64_t rounds_contributed = 0;
  int64_t example_count = 0;
  int64_t weight = 0;  // Of what it hands in in time; 0: it has not told its records.
  bool accepted = false;
  bool awaited = false;  // The current phase waits for its answer.
};

// What a run is doing.
enum class RunPhase : uint8_t {
  kNone,
  kInviting,
  kTraining,
  kAggregating,  // Securely.
  kReleasing,
  kEvaluating
};

// "inviting", ...; empty for kNone.
std::string_view ToString(RunPhase phase);

struct RunView {
  RunState state = RunState::kInviting;
  // Why it has ended, is paused, or pauses when the open round is over.
  std::string reason;
  bool pausing = false;  // The open round is the last one for now.
  int64_t rounds_done = 0;
  int64_t round_count = 0;
  RunPhase phase = RunPhase::kNone;
  int64_t quorum = 0;             // Contributions that a round needs.
  int64_t close_at = 0;           // With which it closes though others work; 0: none does.
  absl::Duration round_deadline;  // How long it waits for them.
  int64_t attempt = 0;            // Of the current round; 0 when none is open.
  std::optional<absl::Duration> deadline =
      std::nullopt;                 // Of the current phase; on the clock of `now`.
  Digest adapter;                   // The newest.
  std::vector<ClientView> clients;  // By name.
  std::optional<RoundSummary> last_round;
  std::optional<EvaluationSummary> first_evaluation;
  std::optional<EvaluationSummary> last_evaluation;
};

}  // namespace fedtune
