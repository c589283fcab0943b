// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <string>
#include <thread>

#include "absl/time/time.h"

namespace fedtune {

// Says on stderr what is being waited for, once it has taken two seconds: for
// what cannot tell how far it is. On a terminal the line goes away at the end.
//
//   const WaitingNote note("waiting for fl.example.org:7443");
class WaitingNote {
 public:
  explicit WaitingNote(std::string what, absl::Duration silent = absl::Seconds(2),
                       std::FILE* stream = stderr);
  ~WaitingNote();
  WaitingNote(const WaitingNote&) = delete;
  WaitingNote& operator=(const WaitingNote&) = delete;

 private:
  void SayAfter(absl::Duration silent, const std::stop_token& stop);

  const std::string what_;
  std::FILE* const stream_;
  const bool live_;
  bool said_ = false;  // Written by the thread alone, read once it has ended.
  std::mutex mutex_;
  std::condition_variable_any ended_;
  std::jthread thread_;
};

}  // namespace fedtune
