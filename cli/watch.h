// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "absl/status/status.h"
#include "cli/coordinator_connection.h"

namespace fedtune {

// Shows a run on stderr until it has ended: live lines on a terminal, a plain
// line every few seconds in a pipe; with `json` one object for each change on
// stdout instead. A coordinator that goes away while it is watched, as for a restart, or
// stands still, is waited for. Ctrl-C stops the watching, not the run, and says so.
//
// An error with the exit code 5: the run ended without its goal.
absl::Status Watch(const CoordinatorConnection& connection, const std::string& run_id, bool json);

}  // namespace fedtune
