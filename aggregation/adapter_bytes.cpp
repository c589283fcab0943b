// SPDX-License-Identifier: Apache-2.0

#include "aggregation/adapter_bytes.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "absl/status/status.h"
#include "base/check.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr uint32_t kMagnitudeBits = 0x7fffffff;
constexpr uint32_t kInfinityBits = 0x7f800000;

uint32_t MagnitudeBits(float value) { return std::bit_cast<uint32_t>(value) & kMagnitudeBits; }

}  // namespace

absl::StatusOr<std::vector<float>> ValuesFromBytes(std::string_view bytes, int64_t value_count,
                                                   std::string_view what) {
  if (bytes.size() != static_cast<uint64_t>(value_count) * sizeof(float)) {
    return absl::InvalidArgumentError(fmt::format("{} has {} bytes, {} values of 4 are expected",
                                                  what, bytes.size(), value_count));
  }
  std::vector<float> values(static_cast<size_t>(value_count));
  if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

absl::Status CheckFinite(const AdapterLayout& layout, FactorSet factors,
                         std::span<const float> values, std::string_view what) {
  Check(std::ssize(values) == layout.parameter_count(factors), "values do not fit the layout");
  // A maximum over integers, so that the compiler makes vector code of it.
  uint32_t largest = 0;
  for (const float value : values) largest = std::max(largest, MagnitudeBits(value));
  if (largest < kInfinityBits) return absl::OkStatus();
  const auto bad = std::find_if(values.begin(), values.end(),
                                [](float value) { return MagnitudeBits(value) >= kInfinityBits; });
  return absl::InvalidArgumentError(fmt::format("{} is not finite at {}", what,
                                                ValueName(layout, factors, bad - values.begin())));
}

std::string ValueName(const AdapterLayout& layout, FactorSet factors, int64_t index) {
  for (const AdapterTensor& tensor : layout.tensors()) {
    if (!Contains(factors, tensor.factor)) continue;
    if (index < tensor.size()) {
      return fmt::format("{}.lora_{}[{}]",
                         layout.modules()[static_cast<size_t>(tensor.module_index)].name,
                         tensor.factor == Factor::kA ? 'A' : 'B', index);
    }
    index -= tensor.size();
  }
  return "no tensor";
}

}  // namespace fedtune
