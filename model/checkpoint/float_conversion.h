// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "model/checkpoint/tensor_type.h"

namespace fedtune {

// Conversions between fp32 and the 16-bit types; to 16 bits they round to the
// nearest, ties to even. NaN stays NaN.
float FloatFromHalf(uint16_t half);
uint16_t HalfFromFloat(float value);
float FloatFromBfloat16(uint16_t bfloat16);
uint16_t Bfloat16FromFloat(float value);

// An 8-bit float with 4 bits of exponent, 3 of mantissa and no infinities.
float FloatFromE4M3(uint8_t value);

// F32, F16 and BF16: what the two functions below take.
bool IsConvertibleToFloat(TensorType type);

// Reads as many values of `type` as `values` takes; `bytes` must have exactly
// as many.
void DecodeFloats(TensorType type, std::span<const std::byte> bytes, std::span<float> values);

// The nearest floats to values of F64; infinite beyond what a float can be. As DecodeFloats().
void RoundDoubles(std::span<const std::byte> bytes, std::span<float> values);

// The reverse of DecodeFloats().
void EncodeFloats(TensorType type, std::span<const float> values, std::span<std::byte> bytes);

}  // namespace fedtune
