// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "base/toml.h"
#include "plan/plan.h"

namespace fedtune {

// Reads [secure] and, in a plan whose aggregation is secure, fills in what it
// leaves open, the quorum among it. Combinations that cannot work are recorded in
// the document. Requires: the other sections of `plan` have been read.
void ReadSecure(TomlSection& root, Plan& plan);

}  // namespace fedtune
