// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "ATen/core/Tensor.h"

namespace fedtune {

// Rows of x, moved. Their derivatives are gathers too instead of sums over an
// index, so that they are fast and give equal bits each time.

// y[slot] = x[row_of_slot[slot]]. Slots that are no row's slot_of_row are
// padding: their gradient is ignored.
at::Tensor GatherRows(const at::Tensor& x, const at::Tensor& row_of_slot,
                      const at::Tensor& slot_of_row);

// y[i] = x[rows[i]], where no row is asked for twice. The gradient of the others
// is zero.
at::Tensor SelectRows(const at::Tensor& x, const at::Tensor& rows);

}  // namespace fedtune
