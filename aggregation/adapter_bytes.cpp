// SPDX-License-Identifier: Apache-2.0

#include "aggregation/adapter_bytes.h"

#include <cstring>
#include <string>

#include "absl/status/status.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {

absl::Status CheckByteCount(uint64_t bytes, int64_t value_count, std::string_view what) {
  if (bytes == static_cast<uint64_t>(value_count) * sizeof(float)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{} has {} bytes, {} values of 4 are expected", what, bytes, value_count));
}

absl::StatusOr<std::vector<float>> ValuesFromBytes(std::string_view bytes, int64_t value_count,
                                                   std::string_view what) {
  RETURN_IF_ERROR(CheckByteCount(bytes.size(), value_count, what));
  std::vector<float> values(static_cast<size_t>(value_count));
  if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

absl::Status CheckFinite(const AdapterLayout& layout, FactorSet factors,
                         std::span<const float> values, std::string_view what) {
  ValueRange range;
  range.Add(values);
  return CheckFinite(layout, factors, range, what);
}

absl::Status CheckFinite(const AdapterLayout& layout, FactorSet factors, const ValueRange& range,
                         std::string_view what) {
  Check(range.count() == layout.parameter_count(factors), "values do not fit the layout");
  if (range.finite()) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("{} is not finite at {}", what,
                                                ValueName(layout, factors, range.extreme_index())));
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
