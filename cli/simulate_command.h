// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "base/command_line.h"
#include "cli/session.h"

namespace fedtune {

// `fedtune simulate`: starts fedtune-simulate, which stands beside this program, with
// the same arguments and in its place.
void AddSimulateCommand(CommandLine& line, Session& session);

}  // namespace fedtune
