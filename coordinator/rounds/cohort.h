// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <vector>

#include "coordinator/rounds/names.h"

namespace fedtune {

// Draws `size` of the candidates (all of them when size is 0 or not below
// their number) for one round: those whose SHA-256 of "SEED ROUND NAME" is
// smallest. Anyone can repeat the draw, the order of the candidates does not
// matter, and when one is absent another takes its place while the rest stay.
// Returns names in ascending order.
std::vector<Institution> DrawCohort(std::vector<Institution> candidates, int64_t size, int64_t seed,
                                    int64_t round);

}  // namespace fedtune
