// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "aggregation/adapter_layout.h"
#include "client/training/sampling.h"

namespace fedtune {

// How a text is gone on with.
struct GenerationRequest {
  std::span<const int32_t> prompt;
  int64_t max_tokens = 0;
  std::span<const int32_t> end_tokens;  // Any of these ends the text, and is none of it.
  Sampling sampling = {};
};

// Called with each token; returning false ends the generation (CANCELLED).
using TokenObserver = std::function<bool(int32_t token)>;

struct GeneratedText {
  std::vector<int32_t> tokens;
  bool ended = false;  // By an end token, and not by the number of tokens.
};

// Writes texts with one model and one adapter, which it keeps in memory. Use it from one
// thread at a time; a call blocks for as long as the work takes. Equal requests give
// equal tokens wherever logits are equal.
//
// INVALID_ARGUMENT: an empty prompt, an unknown token, more tokens than the model's
// context has, sampling out of its range, or weights that are not finite. CANCELLED: an observer
// said so. OUT_OF_RANGE: what the model says is not finite (Overflowed()).
// RESOURCE_EXHAUSTED: out of memory. INTERNAL: the numerics library failed.
class Generator {
 public:
  virtual ~Generator() = default;

  virtual absl::StatusOr<GeneratedText> Generate(const GenerationRequest& request,
                                                 const TokenObserver& observer = {}) = 0;
};

}  // namespace fedtune
