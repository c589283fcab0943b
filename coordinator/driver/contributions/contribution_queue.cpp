// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/contributions/contribution_queue.h"

#include <set>
#include <utility>

namespace fedtune {

void ContributionQueue::Add(HandedIn& handed) {
  const std::lock_guard lock(mutex_);
  waiting_.push_back(&handed);
}

std::vector<HandedIn*> ContributionQueue::NextTogether() {
  const std::lock_guard lock(mutex_);
  std::vector<HandedIn*> together;
  std::set<Institution> clients;
  std::deque<HandedIn*> left;
  for (HandedIn* handed : waiting_) {
    const bool joins = together.size() < kMostTogether && clients.insert(handed->from).second;
    (joins ? together.push_back(handed) : left.push_back(handed));
  }
  waiting_.swap(left);
  return together;
}

bool ContributionArrivals::Add(HandedIn& handed) {
  const std::lock_guard lock(mutex_);
  arrived_.push_back(&handed);
  return !std::exchange(is_under_way_, true);
}

std::vector<HandedIn*> ContributionArrivals::Next() {
  const std::lock_guard lock(mutex_);
  is_under_way_ = !arrived_.empty();
  return std::exchange(arrived_, {});
}

}  // namespace fedtune
