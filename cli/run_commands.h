// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "base/command_line.h"
#include "cli/session.h"

namespace fedtune {

// `fedtune run list|show|watch|stop|pause|resume|retry` and `fedtune client list|show`.
// `session` must outlive the command line.
void AddRunCommands(CommandLine& line, CLI::App& run_group, Session& session);
void AddClientCommands(CommandLine& line, Session& session);

}  // namespace fedtune
