// SPDX-License-Identifier: Apache-2.0

#include "coordinator/heap_trimmer.h"

#include <malloc.h>

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <stop_token>

namespace fedtune {
namespace {

// In bytes. Less is used again soon, and is not worth the time that all threads wait.
constexpr size_t kWorthIt = size_t{64} << 20;

void Run(const std::stop_token& stop, absl::Duration every) {
  std::mutex mutex;
  std::condition_variable_any stopped;
  while (!stop.stop_requested()) {
    std::unique_lock lock(mutex);
    stopped.wait_for(lock, stop, absl::ToChronoMilliseconds(every), [] { return false; });
    if (::mallinfo2().fordblks > kWorthIt) ::malloc_trim(0);
  }
}

}  // namespace

HeapTrimmer::HeapTrimmer(absl::Duration every)
    : thread_([every](const std::stop_token& stop) { Run(stop, every); }) {}

}  // namespace fedtune
