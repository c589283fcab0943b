// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/float_conversion.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"

namespace fedtune {
namespace {

static_assert(std::endian::native == std::endian::little);
static_assert(std::numeric_limits<float>::is_iec559);  // What is beyond them is infinite.

constexpr uint32_t kInfinity = 0x7f800000;

template <float (*kConvert)(uint16_t)>
void Widen(std::span<const std::byte> bytes, std::span<float> values) {
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, bytes.data() + 2 * i, 2);
    values[i] = kConvert(bits);
  }
}

template <uint16_t (*kConvert)(float)>
void Narrow(std::span<const float> values, std::span<std::byte> bytes) {
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = kConvert(values[i]);
    std::memcpy(bytes.data() + 2 * i, &bits, 2);
  }
}

void CheckSizes(TensorType type, size_t byte_count, size_t value_count) {
  Check(IsConvertibleToFloat(type), "only F32, F16 and BF16 convert to fp32");
  Check(byte_count == value_count * static_cast<size_t>(BytesPerValue(type)),
        "as many bytes as the values take");
}

}  // namespace

float FloatFromHalf(uint16_t half) {
  const uint32_t sign = (half & 0x8000U) << 16;
  const uint32_t rest = (half & 0x7fffU) << 13;
  if (rest >= 0x0f800000) return std::bit_cast<float>(sign | kInfinity | (rest & 0x7fffff));
  if (rest >= 0x00800000) return std::bit_cast<float>(sign | (rest + ((127U - 15U) << 23)));
  const float subnormal = static_cast<float>(half & 0x3ff) * 0x1p-24F;
  return sign == 0 ? subnormal : -subnormal;
}

uint16_t HalfFromFloat(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  const uint32_t rest = bits & 0x7fffffff;
  if (rest > kInfinity) return sign | 0x7e00;
  if (rest >= 0x477ff000) return sign | 0x7c00;  // Rounds to infinity.
  if (rest < 0x38800000) {  // Subnormal: adding 0.5 leaves the rounded bits at the end.
    const float shifted = std::bit_cast<float>(rest) + 0.5F;
    return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(shifted) & 0xffff);
  }
  const uint32_t odd = (rest >> 13) & 1;
  return sign | static_cast<uint16_t>((rest - ((127U - 15U) << 23) + 0xfff + odd) >> 13);
}

float FloatFromBfloat16(uint16_t bfloat16) {
  return std::bit_cast<float>(static_cast<uint32_t>(bfloat16) << 16);
}

uint16_t Bfloat16FromFloat(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > kInfinity) return static_cast<uint16_t>(bits >> 16) | 0x40;
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

float FloatFromE4M3(uint8_t value) {
  const int exponent = value >> 3 & 15, mantissa = value & 7;
  float magnitude = 0;
  if (exponent == 15 && mantissa == 7) {
    magnitude = std::numeric_limits<float>::quiet_NaN();
  } else if (exponent == 0) {
    magnitude = std::ldexp(static_cast<float>(mantissa), -9);
  } else {
    magnitude = std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  }
  return (value & 0x80) != 0 ? -magnitude : magnitude;
}

bool IsConvertibleToFloat(TensorType type) {
  return type == TensorType::kF32 || type == TensorType::kF16 || type == TensorType::kBF16;
}

void DecodeFloats(TensorType type, std::span<const std::byte> bytes, std::span<float> values) {
  CheckSizes(type, bytes.size(), values.size());
  if (values.empty()) return;
  if (type == TensorType::kF32) {
    std::memcpy(values.data(), bytes.data(), bytes.size());
  } else if (type == TensorType::kF16) {
    Widen<FloatFromHalf>(bytes, values);
  } else {
    Widen<FloatFromBfloat16>(bytes, values);
  }
}

void RoundDoubles(std::span<const std::byte> bytes, std::span<float> values) {
  Check(bytes.size() == values.size() * sizeof(double), "as many bytes as the values take");
  for (size_t i = 0; i < values.size(); ++i) {
    double value;
    std::memcpy(&value, bytes.data() + sizeof(double) * i, sizeof(double));
    values[i] = static_cast<float>(value);
  }
}

void EncodeFloats(TensorType type, std::span<const float> values, std::span<std::byte> bytes) {
  CheckSizes(type, bytes.size(), values.size());
  if (values.empty()) return;
  if (type == TensorType::kF32) {
    std::memcpy(bytes.data(), values.data(), bytes.size());
  } else if (type == TensorType::kF16) {
    Narrow<HalfFromFloat>(values, bytes);
  } else {
    Narrow<Bfloat16FromFloat>(values, bytes);
  }
}

}  // namespace fedtune
