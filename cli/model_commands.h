// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "base/command_line.h"
#include "cli/session.h"

namespace fedtune {

// `fedtune model list|show|pull|verify`. `session` must outlive the command line.
void AddModelCommands(CommandLine& line, Session& session);

}  // namespace fedtune
