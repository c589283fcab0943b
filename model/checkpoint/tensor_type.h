// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace fedtune {

// The types of values that a safetensors file may hold.
enum class TensorType : uint8_t {
  kBool,
  kU8,
  kI8,
  kF8E4M3,
  kF8E5M2,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kI64,
  kU64,
  kF64,
};

// As safetensors headers write it: "BF16", "F8_E4M3".
std::string_view ToString(TensorType type);

// The reverse of ToString(); nothing for a type that we do not know.
std::optional<TensorType> ParseTensorType(std::string_view name);

// Size of one value.
int64_t BytesPerValue(TensorType type);

}  // namespace fedtune
