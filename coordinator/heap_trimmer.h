// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <thread>

#include "absl/time/time.h"

namespace fedtune {

// Gives memory that has become free back to the system, now and then, as long as it
// lives: connections by the thousand leave it between what stays, where the heap keeps it
// for ever.
class HeapTrimmer {
 public:
  explicit HeapTrimmer(absl::Duration every);

 private:
  std::jthread thread_;
};

}  // namespace fedtune
