// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/certified_streams.h"

#include <algorithm>
#include <utility>

namespace fedtune {
namespace {

constexpr size_t kForgetAtLeastAt = 64;

// What is done without the lock, which a stream that ends may ask for.
struct End {
  std::shared_ptr<StandingStream> stream;
  absl::Status reason;
  bool at_once = false;
};

}  // namespace

void CertifiedStreams::Add(const std::string& serial, const Identity& identity,
                           const std::shared_ptr<StandingStream>& stream) {
  const std::lock_guard lock(mutex_);
  if (entries_.size() >= forget_at_) Forget();
  entries_.push_back({.serial = serial, .identity = identity, .stream = stream});
}

void CertifiedStreams::Forget() {
  std::erase_if(entries_, [](const Entry& entry) { return entry.stream.expired(); });
  forget_at_ = std::max(2 * entries_.size(), kForgetAtLeastAt);
}

CertifiedStreams::Ended CertifiedStreams::EndRefused(
    const std::function<absl::Status(const std::string&, const Identity&)>& verdict) {
  std::vector<End> ends;
  Ended ended;
  {
    const std::lock_guard lock(mutex_);
    Forget();
    for (Entry& entry : entries_) {
      absl::Status reason = verdict(entry.serial, entry.identity);
      if (reason.ok()) continue;
      std::shared_ptr<StandingStream> stream = entry.stream.lock();
      if (stream == nullptr) continue;
      if (entry.looks == 0) ++ended.closed[entry.identity];
      if (entry.looks == 1) ++ended.abandoned[entry.identity];
      ends.push_back({std::move(stream), std::move(reason), entry.looks++ > 0});
    }
  }
  for (const End& end : ends) {
    end.at_once ? end.stream->Abandon(end.reason) : end.stream->Close(end.reason);
  }
  return ended;
}

}  // namespace fedtune
