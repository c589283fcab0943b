// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <stop_token>
#include <thread>

namespace fedtune {

// Turns SIGTERM and SIGINT into a stop request for as long as it lives, instead
// of the end of the process; a second one ends it at once, as a kill does, with
// ExitCode::kFailed. Make it before any other thread is started: the signals are
// blocked in the threads that come after. At most one at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  std::stop_token token() const { return source_.get_token(); }

 private:
  std::stop_source source_;
  std::jthread listener_;
};

}  // namespace fedtune
