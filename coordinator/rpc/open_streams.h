// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/status/status.h"

namespace fedtune {

// A call that lasts until one side ends it.
class StandingStream {
 public:
  virtual ~StandingStream() = default;

  // Ends the call after what was sent before. Thread-safe; does not block.
  virtual void Close(absl::Status reason) = 0;

  // Ends the call now, whether or not the other side reads. Thread-safe.
  virtual void Abandon(absl::Status reason) = 0;
};

// The standing calls of a server, so that it can end them all. Thread-safe.
class OpenStreams {
 public:
  // Closes the stream at once when CloseAll() was called before.
  void Add(const std::shared_ptr<StandingStream>& stream);

  void CloseAll(const absl::Status& reason);

 private:
  std::mutex mutex_;
  std::vector<std::weak_ptr<StandingStream>> streams_;
  std::optional<absl::Status> closed_;
};

}  // namespace fedtune
