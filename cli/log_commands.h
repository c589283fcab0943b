// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "base/command_line.h"
#include "cli/session.h"

namespace fedtune {

// `fedtune log pull`, `show` and `verify`. `session` must outlive the command line.
void AddLogCommands(CommandLine& line, Session& session);

}  // namespace fedtune
