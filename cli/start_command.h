// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "base/command_line.h"
#include "cli/session.h"

namespace fedtune {

// `fedtune run start`. `session` must outlive the command line.
void AddStartCommand(CommandLine& line, CLI::App& run_group, Session& session);

}  // namespace fedtune
