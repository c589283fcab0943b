// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

namespace fedtune::testing {

// For tests: the bytes of tensors on the CPU, of which it counts those that are made
// after its first use. Thread-safe; one for the whole process.
class TensorCounter {
 public:
  // Begins to count.
  static void Start();

  // Alive now.
  static int64_t Bytes();

  // The most that were at once since the last call.
  static int64_t TakePeakBytes();
};

}  // namespace fedtune::testing
