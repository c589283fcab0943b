// SPDX-License-Identifier: Apache-2.0

#include "coordinator/heap_trimmer.h"

#include <malloc.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

constexpr size_t kMib = size_t{1} << 20;

size_t ResidentMib() {
  std::ifstream statm("/proc/self/statm");
  size_t size = 0;
  size_t resident = 0;
  statm >> size >> resident;
  return resident * static_cast<size_t>(::sysconf(_SC_PAGESIZE)) / kMib;
}

// Small pieces, each hundredth of which stays.
std::vector<std::unique_ptr<std::vector<char>>> LeftOf(size_t bytes) {
  constexpr size_t kPiece = 16'000;
  std::vector<std::unique_ptr<std::vector<char>>> pieces;
  for (size_t i = 0; i < bytes / kPiece; ++i) {
    pieces.push_back(std::make_unique<std::vector<char>>(kPiece, 'x'));
  }
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (i % 100 != 0) pieces[i].reset();
  }
  return pieces;
}

TEST(HeapTrimmerTest, GivesBackWhatIsFreeBetweenWhatStays) {
#ifdef FEDTUNE_UNDER_SANITIZER
  GTEST_SKIP() << "a sanitizer's malloc has rules of its own";
#endif
  ::mallopt(M_ARENA_MAX, 1);
  const size_t before = ResidentMib();
  const auto left = LeftOf(256 * kMib);
  ASSERT_GT(ResidentMib(), before + 128) << "the heap keeps it";
  const HeapTrimmer trimmer(absl::Milliseconds(1));
  const absl::Time end = absl::Now() + absl::Seconds(30);
  while (ResidentMib() > before + 64 && absl::Now() < end) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_LE(ResidentMib(), before + 64);
}

}  // namespace
}  // namespace fedtune
