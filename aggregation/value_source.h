// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"

namespace fedtune {

// Values that lie somewhere, in memory or on a disk, and stay as they are.
// Thread-safe.
class ValueSource {
 public:
  virtual ~ValueSource() = default;

  // Copies the values from `first` on. Requires: there are as many.
  // Errors: of where they lie.
  virtual absl::Status Read(int64_t first, std::span<float> values) const = 0;

  // All of them, where they lie, if that is in memory: they need not be copied. Null
  // otherwise.
  virtual const float* InMemory() const { return nullptr; }
};

}  // namespace fedtune
