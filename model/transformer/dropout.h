// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "ATen/core/Tensor.h"

namespace fedtune {

// Dropout of what a LoRA factor A sees (as peft's lora_dropout): each value is 0
// with probability `rate`, and the others are divided by 1 - rate. The same values
// for the same key and place, whatever the device and the number of threads, so
// that a derivative finds the mask again and nobody has to keep it.
struct Dropout {
  double rate = 0;        // In [0, 1); 0: nothing is dropped.
  uint64_t key = 0;       // Of one pass through one layer.
  int64_t first_row = 0;  // Where a pass takes a layer's rows in pieces.

  explicit operator bool() const { return rate > 0; }
};

// 0 or 1 / (1 - rate) for each value of `x`, [rows, columns], in its type.
// Requires: a rate above 0.
at::Tensor DropoutMask(const at::Tensor& x, const Dropout& dropout);

// A key for part `index` of what `key` is for: number `index` of SplitMix64's stream.
uint64_t SubKey(uint64_t key, uint64_t index);

}  // namespace fedtune
