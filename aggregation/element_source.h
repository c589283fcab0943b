// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"

namespace fedtune {

// A vector of elements of a ring that is made piece by piece as it is asked for.
// Thread-safe.
class ElementSource {
 public:
  virtual ~ElementSource() = default;

  virtual int64_t element_count() const = 0;

  // Elements from `first` on. Requires: there are as many. Errors: of what they are
  // made from.
  virtual absl::Status Read(int64_t first, std::span<uint32_t> elements) const = 0;
};

}  // namespace fedtune
