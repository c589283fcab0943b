// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/safetensors.h"

namespace fedtune {

// peft stores weights of the base model beside the factors of an adapter of the head
// or the embeddings, and puts them in the base model's place when it loads them. Whether
// `stored`, which an adapter calls `name`, is the weight that `base` has, up to
// rounding to the type in which it is stored.
//
// A tied head and the embedding stand for each other.
//
// INVALID_ARGUMENT: the base has no such weight, or another one; says which.
absl::Status CheckStoredBaseWeight(const TensorView& stored, std::string_view name,
                                   const Checkpoint& base);

// Whether the head of `base` is not the embedding, so that an adapter of it changes the
// head alone. peft adapts a tied head too, but what it merges is no longer what it trained.
//
// INVALID_ARGUMENT: it is; says what to do.
absl::Status CheckHeadIsItsOwn(const Checkpoint& base);

}  // namespace fedtune
