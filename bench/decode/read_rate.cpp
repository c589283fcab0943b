// SPDX-License-Identifier: Apache-2.0

#include "bench/decode/read_rate.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <numeric>
#include <thread>

#if defined(__x86_64__)
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC 12's own headers, inlined.
#endif
#include <immintrin.h>
#endif

#include "absl/time/clock.h"
#include "base/check.h"
#include "model/transformer/product_time.h"

namespace fedtune::bench {
namespace {

constexpr size_t kLarge = size_t{512} << 20;  // Beyond what a processor's cache holds.
constexpr size_t kPiece = size_t{1} << 17;    // Numbers that a thread takes at a time.

// How far ahead memory is asked for: the processor does so itself, but not beyond the
// end of a page.
constexpr size_t kAhead = 512;

uint64_t PlainSum(const uint64_t* numbers) {
  return std::accumulate(numbers, numbers + kPiece, uint64_t{0});
}

#if defined(__x86_64__)
// Narrower loads are slower than memory on CPUs that have these.
[[gnu::target("avx512f")]] uint64_t WideSum(const uint64_t* numbers) {
  constexpr size_t kVector = 8, kSums = 4;
  __m512i sums[kSums] = {};
  for (size_t i = 0; i < kPiece; i += kSums * kVector) {
    for (size_t j = 0; j < kSums; ++j) {
      const uint64_t* values = numbers + i + j * kVector;
      _mm_prefetch(reinterpret_cast<const char*>(values + kAhead), _MM_HINT_T0);
      sums[j] = _mm512_add_epi64(sums[j], _mm512_loadu_si512(values));
    }
  }
  uint64_t sum = 0;
  for (const __m512i& some : sums) sum += static_cast<uint64_t>(_mm512_reduce_add_epi64(some));
  return sum;
}

uint64_t Sum(const uint64_t* numbers) {
  static const bool has_wide_loads = __builtin_cpu_supports("avx512f");
  return has_wide_loads ? WideSum(numbers) : PlainSum(numbers);
}
#else
uint64_t Sum(const uint64_t* numbers) { return PlainSum(numbers); }
#endif

}  // namespace

ReadRate::ReadRate(int threads) : threads_(threads), numbers_(kLarge / sizeof(uint64_t), 1) {}

ReadRate::Rates ReadRate::Measure() const {
  std::atomic<size_t> next = 0;
  std::atomic<uint64_t> sum = 0;
  const absl::Time start = absl::Now();
  const double cpu = ProcessCpuSeconds();
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < threads_; ++i) {
      threads.emplace_back([&] {
        uint64_t own = 0;
        for (size_t at = next += kPiece; at <= numbers_.size(); at = next += kPiece) {
          own += Sum(numbers_.data() + at - kPiece);
        }
        sum += own;
      });
    }
  }
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  Check(sum == numbers_.size(), "a sum of ones");
  constexpr auto kBytes = static_cast<double>(kLarge);
  return {kBytes / seconds, kBytes / (ProcessCpuSeconds() - cpu)};
}

}  // namespace fedtune::bench
