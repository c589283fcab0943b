// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/free_space.h"

#include <algorithm>
#include <iterator>

namespace fedtune {

void FreeSpace::Add(uint64_t begin, uint64_t size) {
  if (size == 0) return;
  gaps_.emplace(begin, size);
  by_size_.emplace(size, begin);
}

FreeSpace::Gaps::iterator FreeSpace::Remove(Gaps::iterator gap) {
  by_size_.erase({gap->second, gap->first});
  return gaps_.erase(gap);
}

uint64_t FreeSpace::Take(uint64_t size) {
  const auto smallest = by_size_.lower_bound({size, 0});
  if (smallest == by_size_.end()) {
    end_ += size;
    furthest_ = std::max(furthest_, end_);
    return end_ - size;
  }
  const auto [space, begin] = *smallest;
  Remove(gaps_.find(begin));
  Add(begin + size, space - size);
  return begin;
}

void FreeSpace::GiveBack(uint64_t begin, uint64_t size) {
  auto behind = gaps_.lower_bound(begin);
  if (behind != gaps_.end() && behind->first == begin + size) {
    size += behind->second;
    behind = Remove(behind);
  }
  if (behind != gaps_.begin()) {
    const auto before = std::prev(behind);
    if (before->first + before->second == begin) {
      begin = before->first;
      size += before->second;
      Remove(before);
    }
  }
  if (begin + size == end_) {
    end_ = begin;
  } else {
    Add(begin, size);
  }
}

void FreeSpace::ForEachGap(absl::FunctionRef<void(uint64_t begin, uint64_t size)> use) const {
  for (const auto& [begin, size] : gaps_) use(begin, size);
  if (furthest_ > end_) use(end_, furthest_ - end_);
}

}  // namespace fedtune
