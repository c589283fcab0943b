// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace fedtune::bench {

// How fast one core makes ring elements of values that lie in memory, in one pass
// over far more of them than caches hold.
struct QuantiseTime {
  double elements_per_s = 0;
  double bytes_per_s = 0;       // Read and written.
  double copy_bytes_per_s = 0;  // Of memcpy(), counted in the same way: what memory gives.
};

// Medians of `repeats`, each of quantising and then of copying.
QuantiseTime MeasureQuantising(int64_t elements, int repeats);

// What one kernel takes for a value that is in the cache, randomness not counted.
struct QuantiseKernelTime {
  std::string_view name;
  double seconds_per_element = 0;
};
std::vector<QuantiseKernelTime> MeasureQuantiseKernels();

}  // namespace fedtune::bench
