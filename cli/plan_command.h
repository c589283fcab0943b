// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "base/command_line.h"
#include "cli/session.h"

namespace fedtune {

// `fedtune plan check`. `session` must outlive the command line.
void AddPlanCommands(CommandLine& line, Session& session);

}  // namespace fedtune
