// SPDX-License-Identifier: Apache-2.0

#include "aggregation/weighted_sum.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "aggregation/adapter_bytes.h"
#include "aggregation/weighted_sum_kernels.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr int64_t kMaxMagnitude = int64_t{1} << 62;
constexpr int64_t kMaxTotalWeight = int64_t{1} << 53;  // Exact as a double.
constexpr float kMaxValue = 1 << 14;

const NamedSumKernels& Kernels() {
  static const NamedSumKernels kFastest = SumKernels().back();
  return kFastest;
}

}  // namespace

WeightedSum::WeightedSum(AdapterLayout layout, FactorSet factors)
    : layout_(std::move(layout)), factors_(factors) {}

absl::Status WeightedSum::CanAdd(const ValueRange& range, int64_t weight) const {
  if (range.count() != value_count()) {
    return absl::InvalidArgumentError(fmt::format("the contribution has {} values, {} are expected",
                                                  range.count(), value_count()));
  }
  if (weight < 1) return absl::InvalidArgumentError("a contribution's weight must be at least 1");
  RETURN_IF_ERROR(CheckFinite(layout_, factors_, range, "the contribution"));
  const float largest = std::abs(range.extreme());
  if (largest >= kMaxValue || weight > kMaxTotalWeight - total_weight_) {
    return TooLarge(range, weight);
  }
  const int64_t steps = ToSteps(largest);
  if (steps > (kMaxMagnitude - magnitude_bound_) / weight) return TooLarge(range, weight);
  return absl::OkStatus();
}

absl::Status WeightedSum::Add(std::shared_ptr<const ValueSource> delta, const ValueRange& range,
                              int64_t weight) {
  RETURN_IF_ERROR(CanAdd(range, weight));
  const int64_t magnitude = ToSteps(std::abs(range.extreme())) * weight;
  contributions_.push_back({std::move(delta), weight, magnitude});
  magnitude_bound_ += magnitude;
  total_weight_ += weight;
  return absl::OkStatus();
}

std::vector<size_t> WeightedSum::Unreadable() const {
  std::vector<size_t> unreadable;
  for (size_t i = 0; i < contributions_.size(); ++i) {
    if (!Probe(*contributions_[i].delta).ok()) unreadable.push_back(i);
  }
  return unreadable;
}

absl::Status WeightedSum::Probe(const ValueSource& delta) const {
  constexpr int64_t kPiece = 16 << 10;
  std::vector<float> values(static_cast<size_t>(std::min(kPiece, value_count())));
  for (int64_t first = 0; first < value_count(); first += kPiece) {
    const auto size = static_cast<size_t>(std::min(kPiece, value_count() - first));
    RETURN_IF_ERROR(delta.Read(first, std::span(values).first(size)));
  }
  return absl::OkStatus();
}

void WeightedSum::Remove(size_t index) {
  const auto contribution = contributions_.begin() + static_cast<std::ptrdiff_t>(index);
  magnitude_bound_ -= contribution->magnitude;
  total_weight_ -= contribution->weight;
  contributions_.erase(contribution);
}

absl::Status WeightedSum::Mean(int64_t first, std::span<float> mean) const {
  Check(total_weight_ > 0, "the mean of no contribution");
  std::vector<int64_t> sum(mean.size());
  std::vector<WeightedValues> in_memory;
  for (const auto& [delta, weight, magnitude] : contributions_) {
    if (const float* values = delta->InMemory(); values != nullptr) {
      in_memory.push_back({values + first, weight});
      continue;
    }
    // `mean` holds one contribution's values until the sum is complete.
    RETURN_IF_ERROR(delta->Read(first, mean));
    const WeightedValues read{mean.data(), weight};
    Kernels().add({&read, 1}, sum);
  }
  Kernels().add(in_memory, sum);
  Kernels().mean(sum.data(), total_weight_, mean);
  return absl::OkStatus();
}

absl::Status WeightedSum::TooLarge(const ValueRange& range, int64_t weight) const {
  const std::string place =
      range.count() == 0 ? "" : ValueName(layout_, factors_, range.extreme_index());
  return absl::OutOfRangeError(fmt::format(
      "the contribution is too large to be added: {} at {} with weight {}, after a weight of {}; "
      "its training has diverged, a lower learning rate helps",
      range.extreme(), place, weight, total_weight_));
}

}  // namespace fedtune
