// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/status.h"

namespace fedtune {

// What every program of ours tells the shell. Documented for users: the values
// do not change.
enum class ExitCode : int {
  kDone = 0,
  kFailed = 1,
  kUsage = 2,                // Wrong usage or configuration.
  kRefused = 3,              // By a policy, a role or a signature.
  kUnreachable = 4,          // The other side does not answer.
  kEndedWithoutItsGoal = 5,  // A run was stopped or rolled back, or lost its quorum.
};

// INVALID_ARGUMENT is 2, PERMISSION_DENIED and UNAUTHENTICATED are 3,
// UNAVAILABLE and DEADLINE_EXCEEDED are 4, any other error is 1, unless
// WithExitCode() chose another.
int ExitCodeFor(const absl::Status& status);

// `status`, an error, with the exit code it is to end the program with.
absl::Status WithExitCode(absl::Status status, ExitCode code);

// How the reading of a file went that the configuration or the command line names, or
// of one in a folder that they name: one that is not there, or may not be read, is
// wrong configuration, and ends the program with ExitCode::kUsage.
absl::Status OfNamedFile(absl::Status status);

}  // namespace fedtune
