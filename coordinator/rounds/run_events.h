// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "aggregation/adapter_layout.h"
#include "coordinator/rounds/names.h"
#include "coordinator/rounds/round_summary.h"
#include "privacy/crypto/sha256.h"
#include "privacy/secure_aggregation/mask_stream.h"

namespace fedtune {

enum class RunState : uint8_t { kInviting, kRunning, kPaused, kFinished, kStopped, kFailed };

// "inviting", "running", "paused", "finished", "stopped", "failed".
std::string_view ToString(RunState state);

// Texts of others are shown to people and kept: not without bounds.
std::string ShortReason(std::string text);

// The head of a contribution, as a client sent it: nothing in it is checked.
struct ContributionHeader {
  int64_t round = 0;
  int64_t attempt = 0;
  Digest adapter;        // What was trained from.
  Digest layout;         // SHA-256 of the layout's JSON.
  uint32_t factors = 0;  // Bits: 1 for A, 2 for B.
  uint64_t size_bytes = 0;
  Digest sha256 = {};  // Of the values; in secure runs of input_manifest.
  ClientMetrics metrics = {};
  // In secure runs the protocol's InputManifest; the bytes are a masked vector.
  std::vector<uint8_t> input_manifest = {};
};

// ---- What clients do ----

struct ClientConnected {};
struct ClientDisconnected {};

struct RunAccepted {
  int64_t example_count = 0;
};
struct RunDeclined {
  std::string reason;
  // Because the coordinator's log is not the one that it has seen. It takes part once somebody
  // at the institution has accepted the log.
  bool refuses_log = false;
};

enum class ReportedPhase : uint8_t { kDownloading, kEvaluating, kTraining, kUploading, kWaiting };

struct ProgressReported {
  int64_t round = 0;
  int64_t attempt = 0;
  ReportedPhase phase = ReportedPhase::kWaiting;
  double fraction = 0;
  double tokens_per_second = 0;
  std::string note = "";
};

// A contribution that Run::CheckContribution() admitted, whose bytes have been
// verified and added to the round's sum, with no other event in between.
struct ContributionTaken {
  ContributionHeader header;
};

struct ClientFailed {
  int64_t round = 0;
  int64_t attempt = 0;
  std::string reason;
  // Up to which of the run's rounds, counted from 1, the client has agreed on survivors,
  // if that is why: it does so in none of them again.
  int64_t agreed_rounds = 0;
};

// A message of the round's secure aggregation.
struct SecureMessageReceived {
  int64_t round = 0;
  int64_t attempt = 0;
  std::vector<uint8_t> message;
};

using ClientEvent =
    std::variant<ClientConnected, ClientDisconnected, RunAccepted, RunDeclined, ProgressReported,
                 ContributionTaken, ClientFailed, SecureMessageReceived>;

// ---- What the driver and the administrators do ----

// The effect Release has been carried out: the new adapter is stored.
struct Released {
  int64_t round = 0;
  Digest adapter;
  // What was counted in a secure sum; of other rounds the run knows it itself.
  std::optional<RoundSummary> counted = std::nullopt;
};

// It cannot be carried out; trying again would not help.
struct ReleaseFailed {
  std::string reason;
  // Of a secure round: its sum is none that as many clients can have.
  bool is_impossible_sum = false;
};
// Of a plain run: what these have handed in to the open round cannot be read any more,
// and is not in its sum. They are asked again.
struct ContributionsLost {
  std::vector<Institution> from;
};

struct StopRequested {
  std::string reason;
};

// No round is to be opened until the run is resumed; the open one is finished. That
// and its end are stored with the run before the run hears of them.
struct PauseRequested {
  std::string reason;
};
struct ResumeRequested {};

using RunEvent = std::variant<Released, ReleaseFailed, ContributionsLost, StopRequested,
                              PauseRequested, ResumeRequested>;

// ---- What is to be done, in this order ----

// Send the client the run's invitation.
struct Invite {
  Institution institution;
};

struct RoundAssignment {
  int64_t round = 0;    // Counted from 0.
  int64_t attempt = 1;  // Counted from 1.
  Digest adapter;       // The global adapter to start from.
  FactorSet factors = FactorSet::kBoth;
  bool evaluate = false;
  bool evaluate_only = false;  // Nothing to train; the contribution has no bytes.
  absl::Duration time_left;
};

// Send the client its work for a round.
struct Assign {
  Institution institution;
  RoundAssignment assignment;
};

// Tell the client that its work for this attempt is no longer wanted.
struct CloseRound {
  Institution institution;
  int64_t round = 0;
  int64_t attempt = 0;
  std::string reason;
};

// Work that a client was given and may still hand in after its round has closed, in
// runs that keep such contributions.
struct OpenWork {
  int64_t round = 0;
  int64_t attempt = 1;
  Digest adapter;  // What it starts from.
  bool evaluate = false;

  bool Is(int64_t a_round, int64_t an_attempt) const {
    return round == a_round && attempt == an_attempt;
  }
  friend bool operator==(const OpenWork&, const OpenWork&) = default;
};

// That attempts and rounds have come to nothing because of a client: the others are
// asked without it, for longer each time.
struct Blame {
  int64_t times = 0;
  int64_t back_in_round = 0;  // Counted from 0: the first that is drawn with it again.
  std::string why = "";       // The last time.

  friend bool operator==(const Blame&, const Blame&) = default;
};

// A round is released, or a run tried again, and no attempt is open: what the next one is
// not to forget, whichever process opens it.
struct BetweenRounds {
  std::map<Institution, Blame> blamed = {};   // Who sits out from now on, or has.
  std::map<Institution, OpenWork> work = {};  // Of those who are late.
  // Rounds right before the next one, of those that count for it; none: as the releases say.
  std::optional<int64_t> burnt_in_a_row = std::nullopt;

  bool empty() const { return blamed.empty() && work.empty() && !burnt_in_a_row.has_value(); }
  friend bool operator==(const BetweenRounds&, const BetweenRounds&) = default;
};

// How an attempt at a round began: what brings it back in another process,
// together with what it has received since.
struct AttemptOpened {
  struct Member {
    Institution institution;
    bool connected = false;
    bool accepted = false;
    bool declined = false;
    std::string reason = "";
    int64_t example_count = 0;
    bool in_cohort = false;
    std::optional<OpenWork> work = std::nullopt;  // Of an earlier round.
    std::optional<Blame> blame = std::nullopt;
    bool refuses_log = false;  // That is why it has declined.

    friend bool operator==(const Member&, const Member&) = default;
  };

  int64_t round = 0;           // Counted from 0.
  int64_t attempt = 1;         // Counted from 1.
  int64_t tries = 1;           // Attempts at this round since it was reached.
  int64_t burnt_in_a_row = 0;  // Rounds right before this one.
  std::vector<Member> members = {};
  absl::Time at = absl::UnixEpoch();            // For records; nothing is measured by it.
  std::optional<Digest> roster = std::nullopt;  // Of a secure round: the signing roster.

  friend bool operator==(const AttemptOpened&, const AttemptOpened&) = default;
};

// A round's attempt begins: forget every contribution taken so far and start an
// empty sum over `factors`. Plain rounds that only evaluate have none.
struct OpenAggregation {
  int64_t round = 0;
  int64_t attempt = 0;
  FactorSet factors = FactorSet::kBoth;
  bool evaluate_only = false;  // In secure runs a sum of what is counted, without values.
  AttemptOpened opened = {};
  // It goes on in a new process: its journal stays, and what was taken is in the sum.
  bool restored = false;
};

// The round is complete: make the next adapter from the sum, store it together
// with `summary` in one transaction, then report Released (or ReleaseFailed, or
// ContributionsLost: the sum without them is still wanted).
struct Release {
  int64_t round = 0;
  int64_t attempt = 0;
  FactorSet factors = FactorSet::kBoth;
  Digest incoming;  // The adapter that the sum's deltas are to be added to.
  RoundSummary summary;
  // Of a secure round: what takes the masks off the sum, in which the rest of the
  // summary is.
  std::shared_ptr<const MaskStreams> masks = nullptr;
  bool evaluate_only = false;  // Only the summary is wanted; nothing is stored.
  // The round has burnt: it is over, and leaves the adapter as it is.
  bool unchanged = false;
  BetweenRounds between = {};  // From then on: stored with the release.
};

// Send the client a message of the round's secure aggregation.
struct SendSecureMessage {
  Institution institution;
  int64_t round = 0;
  int64_t attempt = 0;
  std::vector<uint8_t> message;
};

// Something a client did wrong in a secure aggregation, or why it sits out rounds from
// now on, for the log.
struct ReportFault {
  Institution institution;
  int64_t round = 0;
  std::string what;
  std::optional<int64_t> back_in_round = std::nullopt;  // If it sits out: the first with it.
};

// It was in a secure sum that is impossible once its masks are off, for the log: one for
// each client in it.
struct ReportSuspect {
  Institution institution;
  int64_t round = 0;
  std::string why;
};

// Tell the client that the run is over.
struct TellRunEnded {
  Institution institution;
  RunState state = RunState::kFinished;
  std::string reason;
};

// Tell the client that no round is opened any more, or that they are again.
struct TellRunPaused {
  Institution institution;
  bool paused = true;
  std::string reason;
};

// The run is over: store its state. The driver may forget the sum.
struct EndRun {
  RunState state = RunState::kFinished;
  std::string reason;  // Of a run that has finished: why it has no final evaluation.
};

using Effect = std::variant<Invite, Assign, CloseRound, OpenAggregation, Release, SendSecureMessage,
                            ReportFault, ReportSuspect, TellRunPaused, TellRunEnded, EndRun>;
using Effects = std::vector<Effect>;

}  // namespace fedtune
