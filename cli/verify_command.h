// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "base/command_line.h"
#include "cli/session.h"

namespace fedtune {

// `fedtune model verify`. `session` must outlive the command line.
void AddVerifyCommand(CommandLine& line, CLI::App& model_group, Session& session);

}  // namespace fedtune
