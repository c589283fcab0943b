// SPDX-License-Identifier: Apache-2.0

#include "cli/interrupt.h"

#include <atomic>
#include <chrono>

namespace fedtune {
namespace {

// Lock-free, and so fit for a signal handler.
std::atomic<bool> interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free);

void Remember(int) { interrupted = true; }

}  // namespace

Interrupt::Interrupt() {
  interrupted = false;
  struct sigaction action {};
  action.sa_handler = Remember;
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGINT, &action, &previous_);
  listener_ = std::jthread([this](const std::stop_token& ended) {
    while (!ended.stop_requested()) {
      if (interrupted) source_.request_stop();
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  });
}

Interrupt::~Interrupt() {
  listener_.request_stop();
  listener_.join();
  ::sigaction(SIGINT, &previous_, nullptr);
}

}  // namespace fedtune
