// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <csignal>
#include <functional>
#include <string>
#include <thread>

#include "absl/time/time.h"

namespace fedtune {

// The signals that end a program, kept from all threads but those that wait for them
// here. Make it before any thread.
class EndSignals {
 public:
  EndSignals();

  // Until SIGTERM or SIGINT; says which.
  std::string Wait() const;

  // Makes Wait() return, as SIGTERM does. Thread-safe.
  static void Raise();

 private:
  friend class LastMoments;
  sigset_t signals_;
};

// While it lives, another signal or the end of `patience` calls `give_up`, from a
// thread of its own; it is to end the process.
class LastMoments {
 public:
  LastMoments(const EndSignals& signals, absl::Duration patience,
              std::function<void(const std::string& why)> give_up);
  ~LastMoments();
  LastMoments(const LastMoments&) = delete;
  LastMoments& operator=(const LastMoments&) = delete;

 private:
  std::thread watching_;
};

}  // namespace fedtune
