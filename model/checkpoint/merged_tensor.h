// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "absl/status/status.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/merge_plan.h"

namespace fedtune {

// Takes the next bytes of a tensor. An error ends the tensor with it.
using TensorSink = std::function<absl::Status(std::span<const std::byte> bytes)>;

// Gives `sink`, in pieces, what becomes of a tensor of `checkpoint` by `plan`, which does not
// drop it. The pages of the checkpoint that were read are given back.
//
// INVALID_ARGUMENT: a value too large for its type after merging. Otherwise as `sink`.
absl::Status MakeMergedTensor(const Checkpoint& checkpoint, const MergePlan& plan,
                              const TensorView& tensor, const TensorSink& sink);

}  // namespace fedtune
