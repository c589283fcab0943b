// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "base/clock.h"

namespace fedtune {

// The program `fedtune-ca`. Returns its exit code; see base/command_line.h.
int RunAuthorityProgram(int argc, const char* const* argv, const Clock& clock);

}  // namespace fedtune
