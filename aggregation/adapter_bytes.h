// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <bit>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "aggregation/adapter_layout.h"
#include "aggregation/value_range.h"

namespace fedtune {

// Adapters and contributions are stored and sent as little-endian fp32; so is
// the memory of every machine this is built for.
static_assert(std::endian::native == std::endian::little);

// The bytes of `values`, in place.
inline std::string_view ValueBytes(std::span<const float> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

// INVALID_ARGUMENT: not the bytes of `value_count` values; `what` names them.
absl::Status CheckByteCount(uint64_t bytes, int64_t value_count, std::string_view what);

// A copy of `bytes` as values.
// INVALID_ARGUMENT: not `value_count` values long; `what` names them.
absl::StatusOr<std::vector<float>> ValuesFromBytes(std::string_view bytes, int64_t value_count,
                                                   std::string_view what);

// INVALID_ARGUMENT: `what` has a value that is not finite; the message names
// its tensor and index. `values`, or those in `range`, are the tensors of
// `factors` in layout order; requires that there are as many.
absl::Status CheckFinite(const AdapterLayout& layout, FactorSet factors,
                         std::span<const float> values, std::string_view what);
absl::Status CheckFinite(const AdapterLayout& layout, FactorSet factors, const ValueRange& range,
                         std::string_view what);

// "model.layers.0.self_attn.q_proj.lora_A[17]": where the value at `index` of
// the tensors of `factors`, in layout order, belongs.
std::string ValueName(const AdapterLayout& layout, FactorSet factors, int64_t index);

}  // namespace fedtune
