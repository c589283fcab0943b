// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

namespace fedtune::simulation {

// From here on RandomBytes() gives what follows from `seed`: whoever links this
// file has no other RandomBytes(). Nobody but a simulation may.
void SeedRandomBytes(uint64_t seed);

}  // namespace fedtune::simulation
