// SPDX-License-Identifier: Apache-2.0

#include "aggregation/next_adapter.h"

#include <algorithm>
#include <limits>
#include <mutex>

#include "aggregation/adapter_bytes.h"
#include "aggregation/value_range.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// Notes where the first value is that is not finite.
class FiniteValues final : public SteppedValues {
 public:
  explicit FiniteValues(SteppedValues& values) : values_(values) {}

  absl::Status Load(int64_t first, const Block& block) const override {
    return values_.Load(first, block);
  }

  absl::Status Store(int64_t first, const Block& block) override {
    ValueRange range;
    range.Add(block.values);
    if (!range.finite()) {
      const std::lock_guard lock(mutex_);
      bad_ = std::min(bad_, first + range.extreme_index());
    }
    return values_.Store(first, block);
  }

  absl::Status Verdict(const AdapterLayout& layout) const {
    if (bad_ == kNone) return absl::OkStatus();
    return absl::InvalidArgumentError(
        fmt::format("the new adapter (is the server's learning rate too high?) is not finite at {}",
                    ValueName(layout, FactorSet::kBoth, bad_)));
  }

 private:
  static constexpr int64_t kNone = std::numeric_limits<int64_t>::max();

  SteppedValues& values_;
  std::mutex mutex_;
  int64_t bad_ = kNone;
};

}  // namespace

absl::Status MakeNextAdapter(const AdapterLayout& layout, const MeanSource& mean,
                             const ServerStep& step, const OptimizerStateHead& head,
                             SteppedValues& values) {
  FiniteValues finite(values);
  RETURN_IF_ERROR(ApplyServerStep(layout, mean, step, head, finite));
  return finite.Verdict(layout);
}

}  // namespace fedtune
