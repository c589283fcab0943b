// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/logging.h"
#include "client/round/coordinator_link.h"
#include "client/round/messages.h"
#include "client/round/seen_log.h"

namespace fedtune {

// Sees to it that the coordinator's log has what this institution is asked for, and that
// the log is the one that it has seen before, grown: a coordinator that tells others
// another story, or takes back what it has said, is found out. What was seen is stored
// before a check ends well. The log lines tell of what is refused, once, and of a log that stays
// refused once an hour.
//
// Without a log no check fails, as of a coordinator of an older version, until one was seen.
//
// Thread-safe: of two checks at once the one that sees less of the log is made anew.
class LogWitness {
 public:
  // Clock and log must outlive it.
  LogWitness(SeenLog seen, const Clock& clock, Log& log);

  // That the coordinator has started the run with what is in the invitation.
  //
  // FAILED_PRECONDITION, with IsLogRefused(): the log was rolled back, is another one or not kept
  // any more, or what was seen of it is damaged; so it stays until somebody here accepts the log as
  // it is. INVALID_ARGUMENT: what the coordinator answers is no proof, or its log says something
  // else than the invitation. NOT_FOUND: the log says nothing of it. CANCELLED: stopped.
  // Otherwise the coordinator does not answer that, or what was seen cannot be read or stored.
  absl::Status CheckStarted(const Invitation& invitation, CoordinatorLink& link,
                            const std::stop_token& stop);

  // That the log goes on from what was seen, whatever else is in it; so that who refuses it
  // does so before there is work. What is refused is asked for again after a while only, or
  // once somebody here has accepted a log. Errors as above, but not NOT_FOUND: of a
  // coordinator of an older version, which is not asked that, nothing is known.
  absl::Status Look(CoordinatorLink& link, const std::stop_token& stop);

  // That it has opened the attempt, from the assignment's adapter. Errors as above.
  absl::Status CheckOpened(const Assignment& assignment, CoordinatorLink& link,
                           const std::stop_token& stop);

 private:
  struct Memory {
    std::optional<KeptCheckpoint> seen;
    absl::Status damage;

    friend bool operator==(const Memory&, const Memory&) = default;
  };

  // Since when, on the clock that never jumps, the log is refused that does not go on from this.
  struct Refusal {
    Memory memory;
    absl::Status why;  // The newest.
    absl::Duration shown_at;
    absl::Duration told_at;
  };

  // None: the coordinator keeps no log.
  using Shown = absl::StatusOr<std::optional<LogEvent>>;

  Shown Ask(LogQuestion question, CoordinatorLink& link, const std::stop_token& stop);
  absl::StatusOr<Memory> Remember() const;
  Shown Judge(const Memory& memory, const LogProof& proof);
  Shown WithoutProof(const Memory& memory, const absl::Status& why);
  absl::Status Refuse(const Memory& memory, const LogProof& proof, std::string_view authority);
  absl::Status Refused(const Memory& memory, std::string_view why);
  absl::Status StillRefused();
  void TellOfRefusal(const absl::Status& why);
  void TellOfFirst(const LogCheckpoint& checkpoint);
  absl::Status Told(const absl::Status& outcome);

  std::mutex mutex_;
  SeenLog seen_;  // Guarded by mutex_, as all below.
  const Clock& clock_;
  Log& log_;
  std::string told_;  // The last one of what else is wrong.
  std::optional<Refusal> refusal_;
  bool told_of_no_log_ = false;
};

}  // namespace fedtune
