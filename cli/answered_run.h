// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "aggregation/adapter_layout.h"

namespace fedtune {

// Whether `answered`, the id of a run as the coordinator gives it, is the id of the run that
// was asked for by `asked`, the beginning of one. Folders are named by it: DATA_LOSS if it is
// of another run, or no name but a path.
absl::Status CheckIsTheRun(std::string_view asked, std::string_view answered);

// Whether a release has as many bytes, as the coordinator says, as its layout has values:
// they are kept in memory until all have come. DATA_LOSS if it has not.
absl::Status CheckIsSizeOf(const AdapterLayout& layout, uint64_t answered_bytes);

// Whether a release has room in `usable` bytes of memory, where it is twice while its values
// are read from what came. A coordinator that lies says of both size and layout what it likes.
// RESOURCE_EXHAUSTED if it has not.
absl::Status CheckFitsIntoMemory(uint64_t answered_bytes, uint64_t usable);

}  // namespace fedtune
