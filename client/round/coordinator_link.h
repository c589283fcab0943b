// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/round/messages.h"
#include "privacy/audit/log_proof.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// Called with bytes done and in all.
using TransferObserver = std::function<void(uint64_t done, uint64_t size)>;

struct WantedAdapter {
  Digest digest;
  int64_t value_count = 0;
  // Of one that is not wanted any more: if it has the same size, the adapter comes to lie
  // there. New memory of the system takes longer to be ready than a byte to come.
  std::vector<float> storage = {};
};

// An entry of the coordinator's log: that a run was started or, with an attempt, that this
// attempt at a round of it was opened.
struct LogQuestion {
  uint64_t seen_size = 0;  // Of the log that was seen last; 0: none was.
  std::string run = {};
  int64_t round = 0;
  int64_t attempt = 0;  // 0: of the run's start.

  friend bool operator==(const LogQuestion&, const LogQuestion&) = default;
};

// What a client says to its coordinator besides listening. Thread-safe.
class CoordinatorLink {
 public:
  virtual ~CoordinatorLink() = default;

  // Sends on the standing session; returns at once. Without a session the reply
  // is dropped: the coordinator will ask again.
  virtual void Send(const Reply& reply) = 0;

  // An adapter by its digest. Goes on where it was when the connection breaks or our certificate
  // expires, until it has all of it or is stopped.
  //
  // NOT_FOUND: the coordinator has no such adapter. CANCELLED: stopped. DATA_LOSS:
  // other bytes came than the digest says, or another number of them.
  virtual absl::StatusOr<std::vector<float>> FetchAdapter(WantedAdapter wanted,
                                                          std::stop_token stop,
                                                          const TransferObserver& observer) = 0;

  // Hands in a contribution, in one try. It may be read until nobody else owns it any more,
  // also when this has returned.
  //
  // UNAVAILABLE: no answer, or our certificate has expired; to be tried again.
  // FAILED_PRECONDITION: the round does not take it (any more).
  // CANCELLED: stopped.
  // Any other error: the coordinator refuses it.
  virtual absl::Status Submit(std::shared_ptr<const Contribution> contribution,
                              std::stop_token stop) = 0;

  // The same for a secure round's.
  virtual absl::Status SubmitMasked(std::shared_ptr<const MaskedContribution> contribution,
                                    std::stop_token stop) = 0;

  // What the coordinator's log says, which is not verified yet. Asks again and again while
  // nobody answers or our certificate has expired, until it is stopped.
  //
  // NOT_FOUND: the log has no such entry. UNIMPLEMENTED: the coordinator keeps no log.
  // INVALID_ARGUMENT: what it answers is no proof. CANCELLED: stopped.
  virtual absl::StatusOr<LogProof> ProveLog(const LogQuestion& question, std::stop_token stop) = 0;
};

// What happens on the standing session. Called from the session's threads, one
// call at a time; must return quickly.
class SessionListener {
 public:
  virtual ~SessionListener() = default;

  // RESOURCE_EXHAUSTED: so much is waiting that nothing more is heard; the session ends
  // with this reason.
  virtual absl::Status OnWelcome(const Welcome& welcome) = 0;
  virtual absl::Status OnInstruction(const Instruction& instruction) = 0;

  // The session has ended, or could not begin; the next try is in `retry_in`.
  virtual void OnLost(const absl::Status& reason, absl::Duration retry_in) = 0;
};

}  // namespace fedtune
