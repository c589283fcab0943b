// SPDX-License-Identifier: Apache-2.0

#include "bench/quantise/quantise_time.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "absl/time/clock.h"
#include "aggregation/quantizer.h"
#include "base/check.h"

namespace fedtune::bench {
namespace {

double SecondsOf(const std::function<void()>& work) {
  const int64_t start = absl::GetCurrentTimeNanos();
  work();
  return static_cast<double>(absl::GetCurrentTimeNanos() - start) * 1e-9;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Small values of both signs.
std::vector<float> SomeValues(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  uint32_t state = 1;
  for (float& value : values) {
    state = state * 1'664'525 + 1'013'904'223;
    value = (static_cast<float>(state >> 8) * 0x1p-23f - 1) * 0.01f;
  }
  return values;
}

}  // namespace

QuantiseTime MeasureQuantising(int64_t elements, int repeats) {
  const auto quantizer =
      Quantizer::Create({.ring = RingBits::k32, .max_cohort = 100, .max_weight = 1000});
  Check(quantizer.ok(), "settings that every plan may have");
  MaskStreams rounding(RingBits::k32);
  rounding.Add(SecretBytes(std::vector<uint8_t>(32, 1)), MaskSign::kAdd);
  const std::vector<float> values = SomeValues(elements);
  std::vector<uint32_t> integers(values.size());
  std::vector<double> quantising;
  std::vector<double> copying;
  for (int i = 0; i < repeats; ++i) {
    quantising.push_back(
        SecondsOf([&] { quantizer->Quantize(rounding, 77, 0, values, integers); }));
    copying.push_back(
        SecondsOf([&] { std::memcpy(integers.data(), values.data(), 4 * values.size()); }));
  }
  const double bytes = 8 * static_cast<double>(elements);
  return {.elements_per_s = static_cast<double>(elements) / Median(quantising),
          .bytes_per_s = bytes / Median(quantising),
          .copy_bytes_per_s = bytes / Median(copying)};
}

std::vector<QuantiseKernelTime> MeasureQuantiseKernels() {
  constexpr size_t kValues = 4096;
  constexpr int kPasses = 2000;
  const std::vector<float> values = SomeValues(kValues);
  const std::vector<uint32_t> random(kValues / 2, 0x12345678);
  std::vector<uint32_t> integers(kValues);
  const RoundingRule rule = {
      .clip = 1, .factor = 1e6f, .largest = 1'000'000, .ring_mask = RingMask(RingBits::k32)};
  std::vector<QuantiseKernelTime> times;
  for (const auto& [name, kernel] : QuantizeKernels()) {
    std::vector<double> seconds;
    for (int repeat = 0; repeat < 5; ++repeat) {
      seconds.push_back(SecondsOf([&, kernel = kernel] {
        for (int pass = 0; pass < kPasses; ++pass) {
          kernel(rule, values, random.data(), integers.data());
        }
      }));
    }
    times.push_back({name, Median(seconds) / (kPasses * static_cast<double>(kValues))});
  }
  return times;
}

}  // namespace fedtune::bench
