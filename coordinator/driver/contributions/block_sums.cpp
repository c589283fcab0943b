// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/contributions/block_sums.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace fedtune {
namespace {

constexpr uint64_t kOdd = 0x9e3779b97f4a7c15;

// Each step can be undone: one word that differs makes another sum.
uint64_t Mixed(uint64_t sum, uint64_t word) { return std::rotl((sum ^ word) * kOdd, 29); }

}  // namespace

void BlockSums::Sum::Mix(Lanes& lanes, const std::byte* bytes) {
  Lanes words;
  std::memcpy(words.data(), bytes, sizeof(words));
  for (size_t i = 0; i < lanes.size(); ++i) lanes[i] = Mixed(lanes[i], words[i]);
}

void BlockSums::Sum::Add(std::span<const std::byte> bytes) {
  const size_t waiting = size_ % sizeof(Lanes);
  size_ += bytes.size();
  if (waiting > 0) {
    const size_t part = std::min(bytes.size(), rest_.size() - waiting);
    std::memcpy(rest_.data() + waiting, bytes.data(), part);
    bytes = bytes.subspan(part);
    if (waiting + part < rest_.size()) return;
    Mix(lanes_, rest_.data());
  }
  Lanes lanes = lanes_;
  for (; bytes.size() >= sizeof(Lanes); bytes = bytes.subspan(sizeof(Lanes))) {
    Mix(lanes, bytes.data());
  }
  lanes_ = lanes;
  std::copy(bytes.begin(), bytes.end(), rest_.begin());
}

uint64_t BlockSums::Sum::Finish() const {
  std::array<std::byte, sizeof(Lanes)> rest = {};
  std::copy_n(rest_.begin(), size_ % sizeof(Lanes), rest.begin());
  Lanes lanes = lanes_;
  Mix(lanes, rest.data());
  uint64_t sum = size_;
  for (const uint64_t lane : lanes) sum = Mixed(sum, lane);
  return sum;
}

void BlockSums::Add(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const size_t part = std::min(bytes.size(), kBlockBytes - open_.size());
    open_.Add(bytes.first(part));
    bytes = bytes.subspan(part);
    if (open_.size() == kBlockBytes) Finish();
  }
}

void BlockSums::Finish() {
  if (open_.size() > 0) sums_.push_back(std::exchange(open_, {}).Finish());
}

uint64_t BlockSums::Of(std::span<const std::byte> bytes) {
  Sum sum;
  sum.Add(bytes);
  return sum.Finish();
}

bool BlockSums::AreOf(size_t block, std::span<const std::byte> bytes) const {
  return block < sums_.size() && sums_[block] == Of(bytes);
}

}  // namespace fedtune
