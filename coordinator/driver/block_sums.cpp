// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/block_sums.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace fedtune {
namespace {

constexpr uint64_t kOdd = 0x9e3779b97f4a7c15;

// Each step can be undone: one word that differs makes another sum.
uint64_t Mixed(uint64_t sum, uint64_t word) { return std::rotl((sum ^ word) * kOdd, 29); }

// Four sums side by side, as one waits for its last step.
using Lanes = std::array<uint64_t, 4>;

void Mix(Lanes& lanes, const std::byte* bytes) {
  Lanes words;
  std::memcpy(words.data(), bytes, sizeof(words));
  for (size_t i = 0; i < lanes.size(); ++i) lanes[i] = Mixed(lanes[i], words[i]);
}

}  // namespace

uint64_t BlockSums::Of(std::span<const std::byte> bytes) {
  Lanes lanes = {1, 2, 3, 4};
  size_t done = 0;
  for (; done + sizeof(Lanes) <= bytes.size(); done += sizeof(Lanes)) {
    Mix(lanes, bytes.data() + done);
  }
  std::array<std::byte, sizeof(Lanes)> rest = {};
  std::copy(bytes.begin() + static_cast<std::ptrdiff_t>(done), bytes.end(), rest.begin());
  Mix(lanes, rest.data());
  uint64_t sum = bytes.size();
  for (const uint64_t lane : lanes) sum = Mixed(sum, lane);
  return sum;
}

void BlockSums::Add(std::span<const std::byte> bytes) {
  for (size_t begin = 0; begin < bytes.size(); begin += kBlockBytes) {
    sums_.push_back(Of(bytes.subspan(begin, std::min(kBlockBytes, bytes.size() - begin))));
  }
}

bool BlockSums::AreOf(size_t block, std::span<const std::byte> bytes) const {
  return block < sums_.size() && sums_[block] == Of(bytes);
}

}  // namespace fedtune
