// SPDX-License-Identifier: Apache-2.0

#include "aggregation/weighted_sum.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "aggregation/adapter_bytes.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr double kStepsPerUnit = static_cast<double>(int64_t{1} << WeightedSum::kFractionBits);
constexpr int64_t kMaxMagnitude = int64_t{1} << 62;
constexpr int64_t kMaxTotalWeight = int64_t{1} << 53;  // Exact as a double.
constexpr float kMaxValue = 1 << 14;

// Adding 1.5 * 2^52 leaves a double's integer part in its lowest bits, rounded
// to nearest; two instructions where a conversion would take a call. Right for
// magnitudes below 2^51, and kMaxValue is 2^50 steps.
constexpr double kRounder = 0x1.8p52;

int64_t ToSteps(float value) {
  const double shifted = static_cast<double>(value) * kStepsPerUnit + kRounder;
  return std::bit_cast<int64_t>(shifted) - std::bit_cast<int64_t>(kRounder);
}

float LargestMagnitude(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

}  // namespace

WeightedSum::WeightedSum(AdapterLayout layout, FactorSet factors)
    : layout_(std::move(layout)),
      factors_(factors),
      sum_(static_cast<size_t>(layout_.parameter_count(factors))) {}

absl::Status WeightedSum::Add(std::span<const float> delta, int64_t weight) {
  if (delta.size() != sum_.size()) {
    return absl::InvalidArgumentError(
        fmt::format("the contribution has {} values, {} are expected", delta.size(), sum_.size()));
  }
  if (weight < 1) return absl::InvalidArgumentError("a contribution's weight must be at least 1");
  RETURN_IF_ERROR(CheckFinite(layout_, factors_, delta, "the contribution"));
  const float largest = LargestMagnitude(delta);
  if (largest >= kMaxValue || weight > kMaxTotalWeight - total_weight_) {
    return TooLarge(delta, weight);
  }
  const int64_t steps = ToSteps(largest);
  if (steps > (kMaxMagnitude - magnitude_bound_) / weight) return TooLarge(delta, weight);
  // Nothing can fail from here on.
  for (size_t i = 0; i < sum_.size(); ++i) sum_[i] += ToSteps(delta[i]) * weight;
  magnitude_bound_ += steps * weight;
  total_weight_ += weight;
  ++contribution_count_;
  return absl::OkStatus();
}

std::vector<float> WeightedSum::Mean() const {
  Check(total_weight_ > 0, "the mean of no contribution");
  const double divisor = static_cast<double>(total_weight_);
  std::vector<float> mean(sum_.size());
  for (size_t i = 0; i < sum_.size(); ++i) {
    mean[i] = static_cast<float>(static_cast<double>(sum_[i]) / divisor / kStepsPerUnit);
  }
  return mean;
}

absl::Status WeightedSum::TooLarge(std::span<const float> delta, int64_t weight) const {
  const auto largest = std::max_element(delta.begin(), delta.end(),
                                        [](float a, float b) { return std::abs(a) < std::abs(b); });
  const std::string place =
      delta.empty() ? "" : ValueName(layout_, factors_, largest - delta.begin());
  return absl::OutOfRangeError(fmt::format(
      "the contribution is too large to be added: {} at {} with weight {}, after a weight of {}; "
      "its training has diverged, a lower learning rate helps",
      delta.empty() ? 0 : *largest, place, weight, total_weight_));
}

}  // namespace fedtune
