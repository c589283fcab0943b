// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/tensor_type.h"

#include <array>

namespace fedtune {
namespace {

struct Entry {
  TensorType type;
  std::string_view name;
  int64_t bits;
};

// In the order of the enumeration.
constexpr std::array<Entry, 22> kEntries = {{
    {TensorType::kBool, "BOOL", 8},
    {TensorType::kF4, "F4", 4},
    {TensorType::kF6E2M3, "F6_E2M3", 6},
    {TensorType::kF6E3M2, "F6_E3M2", 6},
    {TensorType::kU8, "U8", 8},
    {TensorType::kI8, "I8", 8},
    {TensorType::kF8E4M3, "F8_E4M3", 8},
    {TensorType::kF8E5M2, "F8_E5M2", 8},
    {TensorType::kF8E8M0, "F8_E8M0", 8},
    {TensorType::kF8E4M3Fnuz, "F8_E4M3FNUZ", 8},
    {TensorType::kF8E5M2Fnuz, "F8_E5M2FNUZ", 8},
    {TensorType::kI16, "I16", 16},
    {TensorType::kU16, "U16", 16},
    {TensorType::kF16, "F16", 16},
    {TensorType::kBF16, "BF16", 16},
    {TensorType::kI32, "I32", 32},
    {TensorType::kU32, "U32", 32},
    {TensorType::kF32, "F32", 32},
    {TensorType::kI64, "I64", 64},
    {TensorType::kU64, "U64", 64},
    {TensorType::kF64, "F64", 64},
    {TensorType::kC64, "C64", 64},
}};

}  // namespace

std::string_view ToString(TensorType type) { return kEntries[static_cast<size_t>(type)].name; }

std::optional<TensorType> ParseTensorType(std::string_view name) {
  for (const Entry& entry : kEntries) {
    if (entry.name == name) return entry.type;
  }
  return std::nullopt;
}

int64_t BitsPerValue(TensorType type) { return kEntries[static_cast<size_t>(type)].bits; }

int64_t BytesPerValue(TensorType type) { return (BitsPerValue(type) + 7) / 8; }

}  // namespace fedtune
