// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cmath>
#include <cstdint>

#include "absl/time/time.h"
#include "simulation/draws.h"

namespace fedtune::simulation {

// How a virtual client is and behaves, drawn from the simulation's seed and its number
// alone: most are within a factor of two of the typical one, a few four times as slow.
class Temperament {
 public:
  struct Setting {
    uint64_t seed = 0;
    absl::Duration training;  // Of the typical client, a round.
    absl::Duration deadline;  // Of a round.
    double dropout = 0;       // The likelihood that a client is cut off in a round.
  };

  Temperament(const Setting& setting, int64_t number)
      : setting_(setting), draws_(setting.seed + (static_cast<uint64_t>(number) << 32)) {
    slowness_ = std::exp2(Around());
    bytes_per_second_ = 4e6 * std::exp2(2 * Around());
    latency_ = draws_.Between(absl::Milliseconds(2), absl::Milliseconds(120));
    records_ = 8 + draws_.Below(57);
  }

  absl::Duration latency() const { return latency_; }
  // Of its training data.
  int64_t records() const { return records_; }

  // With a tenth of it more or less.
  absl::Duration TrainingTime() {
    const double varied = slowness_ * (0.9 + 0.2 * Unit());
    return setting_.training * varied;
  }
  absl::Duration TransferTime(double bytes) const {
    return absl::Seconds(bytes / bytes_per_second_);
  }
  absl::Duration ShortTime() {
    return draws_.Between(absl::Milliseconds(1), absl::Milliseconds(200));
  }

  bool DropsOut() { return draws_.Chance(setting_.dropout); }
  // When, within what it does, and for how long.
  double Share() { return Unit(); }
  absl::Duration TimeAway() { return setting_.deadline * (0.1 + 1.4 * Unit()); }

 private:
  double Unit() { return static_cast<double>(draws_.Next() >> 11) * 0x1p-53; }
  // From -2 to 2, mostly within 1 of 0.
  double Around() { return Unit() + Unit() + Unit() + Unit() - 2; }

  const Setting setting_;
  Draws draws_;
  double slowness_ = 1;
  double bytes_per_second_ = 1;
  absl::Duration latency_;
  int64_t records_ = 1;
};

}  // namespace fedtune::simulation
