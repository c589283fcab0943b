// SPDX-License-Identifier: Apache-2.0

#include "aggregation/quantizer.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/check.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// Beyond it fp32 has nothing to say.
constexpr int kMostPrecision = 30;

// Values that are rounded at a time. Their randomness, two bytes each, stays in the
// processor's innermost cache.
constexpr size_t kValuesTogether = 16'384;
static_assert(kValuesTogether % kQuantizeGroup == 0);

// The integer that `element` stands for, as two's complement in the ring.
int32_t SignedValue(RingBits ring, uint32_t element) {
  const int unused = 32 - static_cast<int>(ring);
  return static_cast<int32_t>(element << unused) >> unused;
}

// What `contributions` clients of `total_weight` can sum up to. A client's magnitudes are
// its weight's share of the largest, up to a step of rounding and what fp32 is off: weights
// that say less than the values would scale these up.
int64_t LargestSum(const QuantizerSettings& settings, int32_t largest, int64_t contributions,
                   int64_t total_weight) {
  constexpr double kInexact = 1 + 0x1p-20;
  const double share = static_cast<double>(total_weight) / static_cast<double>(settings.max_weight);
  const double of_weight = share * largest * kInexact + static_cast<double>(contributions);
  const auto of_clients = static_cast<double>(contributions * largest);
  return static_cast<int64_t>(std::min(of_weight, of_clients)) + settings.noise_bound;
}

}  // namespace

int LargestPrecision(RingBits ring, int64_t max_cohort, int64_t noise_bound) {
  const int64_t room = (int64_t{1} << (static_cast<int>(ring) - 1)) - 1 - noise_bound;
  if (max_cohort < 1 || noise_bound < 0) return 0;
  int precision = kMostPrecision;
  while (precision > 1 && (int64_t{1} << (precision - 1)) - 1 > room / max_cohort) --precision;
  return precision > 1 ? precision : 0;
}

absl::StatusOr<Quantizer> Quantizer::Create(const QuantizerSettings& settings) {
  if (!(settings.clip > 0) || !std::isfinite(static_cast<float>(settings.clip)) ||
      static_cast<float>(settings.clip) == 0 || settings.max_weight < 1) {
    return absl::InvalidArgumentError(fmt::format(
        "clip is {} and the largest weight {}; both must be positive and of fp32's range",
        settings.clip, settings.max_weight));
  }
  const int bits = LargestPrecision(settings.ring, settings.max_cohort, settings.noise_bound);
  if (bits < kLeastPrecision) {
    return absl::InvalidArgumentError(fmt::format(
        "sums of {} clients in a ring of {} bits leave {} bits for a value, {} are needed: {} * "
        "(2^{} - 1) + {} is not below 2^{}",
        settings.max_cohort, static_cast<int>(settings.ring), bits, kLeastPrecision,
        settings.max_cohort, kLeastPrecision - 1, settings.noise_bound,
        static_cast<int>(settings.ring) - 1));
  }
  return Quantizer(settings);
}

Quantizer::Quantizer(const QuantizerSettings& settings)
    : settings_(settings),
      largest_((int32_t{1} << (LargestPrecision(settings.ring, settings.max_cohort,
                                                settings.noise_bound) -
                               1)) -
               1),
      kernel_(QuantizeKernels().back().kernel) {}

void Quantizer::Quantize(const MaskStreams& rounding, int64_t weight, int64_t first,
                         std::span<const float> values, std::span<uint32_t> elements) const {
  Check(weight >= 1 && weight <= settings_.max_weight, "a weight that the plan does not allow");
  Check(rounding.count() == 1 && rounding.ring() == RingBits::k32 && first >= 0 &&
            values.size() == elements.size(),
        "one key rounds as many elements as there are values");
  const double share = static_cast<double>(weight) / static_cast<double>(settings_.max_weight);
  const RoundingRule rule = {.clip = static_cast<float>(settings_.clip),
                             .factor = static_cast<float>(share * largest_ / settings_.clip),
                             .largest = largest_,
                             .ring_mask = RingMask(settings_.ring)};
  alignas(64) std::array<uint32_t, kValuesTogether / 2> random;
  std::array<float, kQuantizeGroup> group = {};
  std::array<uint32_t, kQuantizeGroup> rounded;
  while (!values.empty()) {
    const auto skipped = static_cast<size_t>(first) % kQuantizeGroup;
    const size_t whole = values.size() / kQuantizeGroup * kQuantizeGroup;
    // Whole groups where they lie, and what is cut off of one in a copy of it.
    const bool in_place = skipped == 0 && whole > 0;
    const size_t count = in_place ? std::min(whole, kValuesTogether)
                                  : std::min(values.size(), kQuantizeGroup - skipped);
    const std::span<uint32_t> drawn =
        std::span(random).first(in_place ? count / 2 : kWordsPerGroup);
    std::fill(drawn.begin(), drawn.end(), 0);
    rounding.Apply((first - static_cast<int64_t>(skipped)) / 2, drawn);
    if (in_place) {
      kernel_(rule, values.first(count), random.data(), elements.data());
    } else {
      std::copy_n(values.begin(), count, group.begin() + static_cast<int64_t>(skipped));
      kernel_(rule, group, random.data(), rounded.data());
      std::copy_n(rounded.begin() + static_cast<int64_t>(skipped), count, elements.begin());
    }
    first += static_cast<int64_t>(count);
    values = values.subspan(count);
    elements = elements.subspan(count);
  }
}

absl::Status Quantizer::Mean(std::span<const uint32_t> sums, int64_t contributions,
                             int64_t total_weight, std::span<float> mean) const {
  Check(sums.size() == mean.size() && total_weight > 0, "the mean of no contribution");
  const int64_t bound = LargestSum(settings_, largest_, contributions, total_weight);
  const double unit = settings_.clip / largest_;
  const double weight =
      static_cast<double>(settings_.max_weight) / static_cast<double>(total_weight);
  int64_t widest = 0;
  for (size_t i = 0; i < sums.size(); ++i) {
    const int64_t sum = SignedValue(settings_.ring, sums[i]);
    widest = std::max(widest, std::abs(sum));
    mean[i] = static_cast<float>(static_cast<double>(sum) * unit * weight);
  }
  if (widest <= bound) return absl::OkStatus();
  return absl::OutOfRangeError(fmt::format(
      "a sum of {} contributions with a weight of {} reaches {}, and they can reach {} at most: a "
      "client has not sent what was agreed",
      contributions, total_weight, widest, bound));
}

}  // namespace fedtune
