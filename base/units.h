// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace fedtune {

// "27.6 MB": decimal units, as people read sizes of transfers and files.
std::string HumanBytes(uint64_t bytes);

// "13.8 M", "15.7 B": counts of parameters, tokens and the like.
std::string HumanCount(uint64_t count);

// "8,123,456,789".
std::string GroupDigits(uint64_t number);

// "9.0 s", "1 min 40 s", "41 min", "2 h 5 min", "3 days": rounded to what matters.
std::string HumanDuration(absl::Duration duration);

// "2 h ago".
std::string HumanAgo(absl::Time then, absl::Time now);

}  // namespace fedtune
