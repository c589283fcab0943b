// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "coordinator/rounds/names.h"
#include "coordinator/rounds/run_events.h"

namespace fedtune {

// What every client of a run is told of it.
struct RunTexts {
  std::string plan_toml;
  std::string layout_json;
  std::string base_digest;     // "sha256:..."
  std::string signing_roster;  // Only of secure runs.
};

struct RunInvitation {
  std::shared_ptr<const RunTexts> texts;
};

struct RoundClosing {
  int64_t round = 0;
  int64_t attempt = 0;
  std::string reason;
};

struct SecureAsking {
  int64_t round = 0;
  int64_t attempt = 0;
  std::vector<uint8_t> message;
};

struct RunPausing {
  bool paused = true;
  std::string reason;
};

struct RunEnd {
  RunState state = RunState::kFinished;
  std::string reason;
};

// What a run has to say to one of its clients.
struct ClientCommand {
  RunId run;
  std::variant<RunInvitation, RoundAssignment, RoundClosing, SecureAsking, RunPausing, RunEnd> what;
};

// An open connection to a client. Thread-safe; no call blocks or calls back.
class ClientLine {
 public:
  virtual ~ClientLine() = default;

  // Commands arrive in the order of the calls. What cannot be delivered any more
  // is dropped: the client is told again when it has reconnected.
  virtual void Send(const ClientCommand& command) = 0;

  // Ends the connection after what was sent before.
  virtual void Close(absl::Status reason) = 0;

  // Ends it without what still waits: who does not read is not waited for.
  virtual void Abandon(absl::Status reason) = 0;
};

}  // namespace fedtune
