// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/time/time.h"

namespace fedtune {

// How far the clocks of members may be behind the authority's.
inline constexpr absl::Duration kClockTolerance = absl::Minutes(5);

}  // namespace fedtune
