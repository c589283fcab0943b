// SPDX-License-Identifier: Apache-2.0

#include "bench/secagg/limits.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace fedtune::bench {
namespace {

constexpr size_t kInCache = 16 << 10;
constexpr size_t kKeystreamBytes = size_t{1} << 30;  // Of each thread and run.
constexpr size_t kBeyondCaches = size_t{64} << 20;   // Words.

void MakeKeystream(MaskKernel kernel) {
  const MaskKernelFunctions& functions = FunctionsOf(kernel);
  const std::array<uint8_t, 32> key = {1, 2, 3};
  AesSchedule schedule;
  functions.expand(key.data(), &schedule);
  alignas(64) std::array<uint8_t, kInCache> buffer;
  for (size_t done = 0; done < kKeystreamBytes; done += kInCache) {
    functions.keystream(schedule, done / 16, buffer.data(), kInCache / 16);
  }
}

}  // namespace

double MedianSeconds(const std::function<void()>& work) {
  std::array<double, 5> seconds;
  for (double& one : seconds) {
    const absl::Time start = absl::Now();
    work();
    one = absl::ToDoubleSeconds(absl::Now() - start);
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[2];
}

double KeystreamRate(MaskKernel kernel, int threads) {
  const double seconds = MedianSeconds([&] {
    std::vector<std::jthread> others;
    for (int i = 1; i < threads; ++i) others.emplace_back([&] { MakeKeystream(kernel); });
    MakeKeystream(kernel);
  });
  return static_cast<double>(threads) * kKeystreamBytes / seconds;
}

double MemoryUpdateRate() {
  std::vector<uint32_t> values(kBeyondCaches, 1);
  const double seconds = MedianSeconds([&] {
    for (uint32_t& value : values) value += 3;
  });
  return 2.0 * kBeyondCaches * sizeof(uint32_t) / seconds;
}

}  // namespace fedtune::bench
