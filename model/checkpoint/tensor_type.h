// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace fedtune {

// The types of values that a safetensors file may hold. Not all can be computed with:
// a tensor that nobody reads may be of any.
enum class TensorType : uint8_t {
  kBool,
  kF4,
  kF6E2M3,
  kF6E3M2,
  kU8,
  kI8,
  kF8E4M3,
  kF8E5M2,
  kF8E8M0,
  kF8E4M3Fnuz,
  kF8E5M2Fnuz,
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
  kC64,
};

// As safetensors headers write it: "BF16", "F8_E4M3".
std::string_view ToString(TensorType type);

// The reverse of ToString(); nothing for a type that we do not know.
std::optional<TensorType> ParseTensorType(std::string_view name);

// Values of fewer bits than a byte lie beside each other without gaps.
int64_t BitsPerValue(TensorType type);

// Size of one value, in whole bytes.
int64_t BytesPerValue(TensorType type);

}  // namespace fedtune
