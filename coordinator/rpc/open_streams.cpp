// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/open_streams.h"

#include <utility>

namespace fedtune {

void OpenStreams::Add(const std::shared_ptr<StandingStream>& stream) {
  std::optional<absl::Status> closed;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(streams_, [](const auto& known) { return known.expired(); });
    streams_.push_back(stream);
    closed = closed_;
  }
  if (closed.has_value()) stream->Close(*closed);
}

void OpenStreams::CloseAll(const absl::Status& reason) {
  std::vector<std::weak_ptr<StandingStream>> streams;
  {
    const std::lock_guard lock(mutex_);
    closed_ = reason;
    streams = std::exchange(streams_, {});
  }
  for (const auto& known : streams) {
    if (const auto stream = known.lock()) stream->Close(reason);
  }
}

}  // namespace fedtune
