// SPDX-License-Identifier: Apache-2.0

#include "aggregation/masked_layout.h"

#include <bit>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

absl::Status ImpossibleSum(const Counter& counter, int64_t contributions) {
  return absl::OutOfRangeError(
      fmt::format("the sum of {} is not one of {} contributions: a client has not sent what was "
                  "agreed",
                  counter.name, contributions));
}

}  // namespace

absl::StatusOr<MaskedLayout> MaskedLayout::Create(const QuantizerSettings& settings,
                                                  int64_t value_count,
                                                  std::vector<Counter> counters) {
  Check(value_count >= 0, "a vector of less than nothing");
  ASSIGN_OR_RETURN(Quantizer quantizer, Quantizer::Create(settings));
  for (const Counter& counter : counters) {
    if (counter.most >= 1 && counter.most <= INT64_MAX / settings.max_cohort) continue;
    return absl::InvalidArgumentError(fmt::format("{} of up to {} cannot be summed over {} clients",
                                                  counter.name, counter.most, settings.max_cohort));
  }
  return MaskedLayout(quantizer, value_count, std::move(counters));
}

MaskedLayout::MaskedLayout(const Quantizer& quantizer, int64_t value_count,
                           std::vector<Counter> counters)
    : quantizer_(quantizer),
      value_count_(value_count),
      counters_(std::move(counters)),
      limb_bits_(LargestPrecision(quantizer_.settings().ring, quantizer_.settings().max_cohort) -
                 1) {
  for (const Counter& counter : counters_) limb_count_ += LimbsOf(counter);
}

int64_t MaskedLayout::LimbsOf(const Counter& counter) const {
  const auto bits = static_cast<int64_t>(std::bit_width(static_cast<uint64_t>(counter.most)));
  return (bits + limb_bits_ - 1) / limb_bits_;
}

absl::StatusOr<std::vector<uint32_t>> MaskedLayout::Limbs(std::span<const int64_t> numbers) const {
  Check(numbers.size() == counters_.size(), "a number for each counter");
  const uint64_t limb_mask = (uint64_t{1} << limb_bits_) - 1;
  std::vector<uint32_t> limbs;
  limbs.reserve(static_cast<size_t>(limb_count_));
  for (size_t i = 0; i < numbers.size(); ++i) {
    const Counter& counter = counters_[i];
    if (numbers[i] < 0 || numbers[i] > counter.most) {
      return absl::InvalidArgumentError(
          fmt::format("{} is {}, the plan allows 0 to {}", counter.name, numbers[i], counter.most));
    }
    auto rest = static_cast<uint64_t>(numbers[i]);
    for (int64_t limb = LimbsOf(counter); limb > 0; --limb, rest >>= limb_bits_) {
      limbs.push_back(static_cast<uint32_t>(rest & limb_mask));
    }
  }
  return limbs;
}

absl::StatusOr<std::vector<int64_t>> MaskedLayout::Sums(std::span<const uint32_t> limbs,
                                                        int64_t contributions) const {
  Check(std::ssize(limbs) == limb_count_, "the limbs of all counters");
  const int64_t most_of_limb = contributions * ((int64_t{1} << limb_bits_) - 1);
  std::vector<int64_t> sums;
  for (const Counter& counter : counters_) {
    // In 128 bits: what a lying client adds may be more than the counter's range.
    unsigned __int128 sum = 0;
    for (int64_t limb = 0; limb < LimbsOf(counter); ++limb) {
      const uint32_t element = limbs[static_cast<size_t>(limb)];
      if (element > most_of_limb) return ImpossibleSum(counter, contributions);
      sum += static_cast<unsigned __int128>(element) << (limb * limb_bits_);
    }
    const auto most = static_cast<unsigned __int128>(counter.most) *
                      static_cast<unsigned __int128>(contributions);
    if (sum > most) return ImpossibleSum(counter, contributions);
    sums.push_back(static_cast<int64_t>(sum));
    limbs = limbs.subspan(static_cast<size_t>(LimbsOf(counter)));
  }
  return sums;
}

}  // namespace fedtune
