// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "base/name.h"

namespace fedtune {

// "run-7f3a".
using RunId = Name<struct RunIdKind>;

// An institution's name as its certificate has it: "charite".
using Institution = Name<struct InstitutionKind>;

}  // namespace fedtune
