// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <mutex>
#include <stop_token>
#include <thread>

#include "absl/status/status.h"
#include "client/round/coordinator_link.h"
#include "client/round/messages.h"
#include "client/transport/connection.h"
#include "proto/fedtune/v1/training.grpc.pb.h"

namespace fedtune {

// The standing session with the coordinator: begun again, with growing pauses,
// for as long as this object lives. Thread-safe.
class StandingSession {
 public:
  // Each session is held over the connection that `connection` returns when it begins, and
  // ends when that is left. `listener`, and what `connection` uses, must outlive this object.
  StandingSession(ConnectionGiver connection, Greeting greeting, SessionListener& listener);

  // Ends the session and waits for its threads.
  ~StandingSession();

  // Returns at once; dropped while there is no session.
  void Send(const Reply& reply);

 private:
  class Line;

  void Run(const std::stop_token& stop);
  absl::Status HoldLine(const std::stop_token& stop, bool& welcomed);

  const ConnectionGiver connection_;
  const Greeting greeting_;
  SessionListener& listener_;

  std::mutex mutex_;
  Line* line_ = nullptr;  // Guarded by mutex_; null between two sessions.

  std::jthread thread_;  // Last: starts when all else is there, ends first.
};

}  // namespace fedtune
