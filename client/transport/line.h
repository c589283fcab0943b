// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <mutex>

#include "absl/time/time.h"
#include "rpc/chunks.h"

namespace fedtune {

// What is known of how long a line is: the shortest time in which anything was answered over
// it. Thread-safe.
class RoundTrips {
 public:
  void Note(absl::Duration took);

  // Infinite before the first.
  absl::Duration shortest() const;

 private:
  mutable std::mutex mutex_;
  absl::Duration shortest_ = absl::InfiniteDuration();
};

// How many bytes of an upload go into its next message. The coordinator lets hardly more than
// one message of a stream be on its way, to bound what it holds, so that small ones leave a long
// line empty most of the time. Over such a line larger ones are tried, and kept as long as more
// bytes go over it with them.
class MessageSize {
 public:
  static constexpr size_t kLeast = kChunkBytes;
  static constexpr size_t kMost = 8 * kChunkBytes;

  // So many messages of a size show how many bytes go over the line.
  static constexpr int kShown = 3;

  // Answers over the line take `round_trip` at least.
  explicit MessageSize(absl::Duration round_trip);

  size_t next() const { return next_; }

  // To hand over the last message took so long.
  void Took(absl::Duration time);

 private:
  void TryTwice();

  bool may_grow_;
  size_t next_ = kLeast;
  int count_ = 0;  // Of messages of this size,
  absl::Duration spent_ = absl::ZeroDuration();
  double before_ = 0;  // Bytes a second with messages of half the size; 0: there were none.
};

}  // namespace fedtune
