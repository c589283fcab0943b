// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "client/commands/config_flags.h"
#include "client/config.h"
#include "client/round/seen_log.h"

namespace fedtune {

struct LogOptions {
  ConfigSource source;
  bool json = false;
  // Of `accept`; either one, or none.
  std::string root = {};  // "sha256:...", or its digits alone.
  std::filesystem::path checkpoint = {};
};

// Prints what the client has seen of the coordinator's log, and what it refuses.
//
// DATA_LOSS: what it has seen is damaged; says what to do. INVALID_ARGUMENT: the
// configuration cannot be read.
absl::Status ShowLog(const LogOptions& options);

// Prints what is refused, takes it as the coordinator's log, and prints what was believed
// before and what is now. A client that runs meanwhile goes on by itself.
//
// INVALID_ARGUMENT: `root` is no digest. Otherwise as SeenLog::Accept().
absl::Status AcceptLog(const LogOptions& options, const Clock& clock);

// What they print, for people or as one JSON object.
absl::StatusOr<std::string> PresentSeenLog(const SeenLog& log, bool json);
std::string PresentChosen(const KeptCheckpoint& chosen);
std::string PresentAccepted(const SeenLog::Accepted& accepted, bool json);

}  // namespace fedtune
