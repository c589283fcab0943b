// SPDX-License-Identifier: Apache-2.0

#include "coordinator/end_signals.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/clock.h"

namespace fedtune {
namespace {

constexpr int kAllDone = SIGUSR1;  // Among ourselves: the moments were enough.

std::string NameOf(int signal) { return signal == SIGINT ? "SIGINT" : "SIGTERM"; }

// The next of `signals`; -1 after so long.
int NextSignal(const sigset_t& signals, absl::Duration patience) {
  const SystemClock clock;
  const absl::Duration end = clock.Monotonic() + patience;
  while (true) {
    const absl::Duration rest = end - clock.Monotonic();
    const timespec left = absl::ToTimespec(std::max(rest, absl::ZeroDuration()));
    const int signal = ::sigtimedwait(&signals, nullptr, &left);
    if (signal >= 0 || errno == EAGAIN) return signal;
  }
}

}  // namespace

EndSignals::EndSignals() {
  ::sigemptyset(&signals_);
  ::sigaddset(&signals_, SIGTERM);
  ::sigaddset(&signals_, SIGINT);
  sigset_t blocked = signals_;
  ::sigaddset(&blocked, kAllDone);
  ::pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
}

std::string EndSignals::Wait() const {
  int signal = 0;
  ::sigwait(&signals_, &signal);
  return NameOf(signal);
}

void EndSignals::Raise() { ::kill(::getpid(), SIGTERM); }

LastMoments::LastMoments(const EndSignals& signals, absl::Duration patience,
                         std::function<void(const std::string& why)> give_up) {
  sigset_t awaited = signals.signals_;
  ::sigaddset(&awaited, kAllDone);
  watching_ = std::thread([awaited, patience, give_up = std::move(give_up)] {
    const int signal = NextSignal(awaited, patience);
    if (signal == kAllDone) return;
    give_up(signal < 0 ? "it took too long" : "another " + NameOf(signal));
  });
}

LastMoments::~LastMoments() {
  ::pthread_kill(watching_.native_handle(), kAllDone);
  watching_.join();
}

}  // namespace fedtune
