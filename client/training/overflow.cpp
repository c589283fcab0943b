// SPDX-License-Identifier: Apache-2.0

#include "client/training/overflow.h"

namespace fedtune {

absl::Status Overflowed(bool with_adapter) {
  if (with_adapter) {
    return absl::OutOfRangeError(
        "the base model computes values that are not finite numbers with this adapter; take an "
        "earlier one, or train it with a lower learning rate");
  }
  return absl::OutOfRangeError(
      "the base model computes values that are not finite numbers, though its weights are; "
      "compare its files with those that its publisher has");
}

}  // namespace fedtune
