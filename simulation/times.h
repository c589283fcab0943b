// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"

namespace fedtune::simulation {

// How long things of one kind took, on the machine's clock.
class Times {
 public:
  void Add(absl::Duration time) { seconds_.push_back(static_cast<float>(ToDoubleSeconds(time))); }

  int64_t count() const { return std::ssize(seconds_); }

  // The time that this share of them did not exceed; 0 when there are none.
  absl::Duration Quantile(double share) const {
    if (seconds_.empty()) return absl::ZeroDuration();
    std::vector<float> sorted = seconds_;
    const auto place =
        sorted.begin() + static_cast<int64_t>(share * static_cast<double>(sorted.size() - 1));
    std::nth_element(sorted.begin(), place, sorted.end());
    return absl::Seconds(*place);
  }

 private:
  std::vector<float> seconds_;
};

}  // namespace fedtune::simulation
