// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <grpcpp/client_context.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "absl/time/time.h"

namespace fedtune {

// So long nothing may come of a download before it is given up and goes on with another call.
// Pieces have 512 KiB: a line of 0.07 Mbit/s brings one in that time.
inline constexpr absl::Duration kLongestSilence = absl::Minutes(1);

// Cancels a call in which nothing happens for a while, though its connection stands: the other
// side, or somebody between, does not go on with it. Has a thread of its own; one thread may
// use it beside that.
class StallWatch {
 public:
  // Begins now. `call` must outlive it.
  StallWatch(grpc::ClientContext& call, absl::Duration longest);
  StallWatch(const StallWatch&) = delete;
  StallWatch& operator=(const StallWatch&) = delete;

  // Something has come.
  void Progress();

  // Whether it has cancelled the call.
  bool has_stalled() const;

 private:
  void Watch(const std::stop_token& stop);

  grpc::ClientContext& call_;
  const absl::Duration longest_;
  mutable std::mutex mutex_;
  std::condition_variable_any progressed_;
  bool progress_ = false;
  bool has_stalled_ = false;
  std::jthread thread_;  // Last: it uses the others.
};

}  // namespace fedtune
