// SPDX-License-Identifier: Apache-2.0

#include "base/waiting_note.h"

#include <utility>

#include "base/progress.h"
#include "fmt/format.h"

namespace fedtune {

WaitingNote::WaitingNote(std::string what, absl::Duration silent, std::FILE* stream)
    : what_(std::move(what)), stream_(stream), live_(IsLiveTerminal(stream)) {
  thread_ = std::jthread([this, silent](const std::stop_token& stop) { SayAfter(silent, stop); });
}

WaitingNote::~WaitingNote() {
  thread_.request_stop();
  thread_.join();
  if (!said_ || !live_) return;
  fmt::print(stream_, "\r\x1b[K");
  std::fflush(stream_);
}

void WaitingNote::SayAfter(absl::Duration silent, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  ended_.wait_for(lock, stop, absl::ToChronoNanoseconds(silent), [] { return false; });
  if (stop.stop_requested()) return;
  said_ = true;
  fmt::print(stream_, "{}{}", what_, live_ ? " ..." : "\n");
  std::fflush(stream_);
}

}  // namespace fedtune
