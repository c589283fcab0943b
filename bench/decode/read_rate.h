// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <vector>

namespace fedtune::bench {

// How fast this machine reads memory, on as many cores at once as are asked for.
class ReadRate {
 public:
  explicit ReadRate(int threads);

  // In bytes.
  struct Rates {
    double per_second;      // Of all threads together.
    double per_cpu_second;  // Of one thread while it has a core.
  };

  // Once over a buffer that no cache holds.
  Rates Measure() const;

 private:
  const int threads_;
  const std::vector<uint64_t> numbers_;
};

}  // namespace fedtune::bench
