// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

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

class ValuesInMemory final : public ValueSource {
 public:
  explicit ValuesInMemory(std::vector<float> values) : values_(std::move(values)) {}

  absl::Status Read(int64_t first, std::span<float> values) const override {
    std::copy_n(values_.begin() + first, values.size(), values.begin());
    return absl::OkStatus();
  }

  const float* InMemory() const override { return values_.data(); }

 private:
  const std::vector<float> values_;
};

}  // namespace fedtune
