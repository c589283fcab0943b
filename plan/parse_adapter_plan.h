// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "base/toml.h"
#include "plan/plan.h"

namespace fedtune {

// Reads [adapter]. What is wrong with it is recorded in its document.
void ReadAdapter(TomlSection section, AdapterPlan& adapter);

}  // namespace fedtune
