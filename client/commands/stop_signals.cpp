// SPDX-License-Identifier: Apache-2.0

#include "client/commands/stop_signals.h"

#include <csignal>
#include <cstdlib>
#include <ctime>

#include "base/exit_code.h"

namespace fedtune {
namespace {

sigset_t StopSet() {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGINT);
  return signals;
}

}  // namespace

StopSignals::StopSignals() {
  const sigset_t signals = StopSet();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  listener_ = std::jthread([this, signals](const std::stop_token& ended) {
    constexpr timespec kPoll = {.tv_sec = 0, .tv_nsec = 50'000'000};
    while (!ended.stop_requested()) {
      if (::sigtimedwait(&signals, nullptr, &kPoll) < 0) continue;
      if (!source_.request_stop()) std::_Exit(static_cast<int>(ExitCode::kFailed));
    }
  });
}

StopSignals::~StopSignals() {
  listener_.request_stop();
  listener_.join();
  const sigset_t signals = StopSet();
  ::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
}

}  // namespace fedtune
