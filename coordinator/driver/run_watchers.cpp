// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/run_watchers.h"

#include <utility>

namespace fedtune {
namespace {

constexpr absl::Duration kTogether = absl::Milliseconds(100);

}  // namespace

void RunWatchers::Add(std::weak_ptr<RunWatcher> watcher) {
  const std::lock_guard lock(mutex_);
  watchers_.push_back(std::move(watcher));
}

void RunWatchers::Notify() {
  {
    const std::lock_guard lock(mutex_);
    if (notified_ || watchers_.empty()) return;
    notified_ = true;
  }
  timers_.After(kTogether, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->Tell();
  });
}

void RunWatchers::Tell() {
  std::vector<std::shared_ptr<RunWatcher>> watchers;
  {
    const std::lock_guard lock(mutex_);
    notified_ = false;
    std::erase_if(watchers_, [&](const std::weak_ptr<RunWatcher>& weak) {
      watchers.push_back(weak.lock());
      return watchers.back() == nullptr;
    });
  }
  for (const auto& watcher : watchers) {
    if (watcher != nullptr) watcher->RunChanged();
  }
}

}  // namespace fedtune
