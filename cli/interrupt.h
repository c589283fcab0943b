// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <csignal>
#include <stop_token>
#include <thread>

namespace fedtune {

// Turns Ctrl-C into a stop request for as long as it lives, instead of the end
// of the process, whatever threads there are. At most one at a time.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  std::stop_token token() const { return source_.get_token(); }

 private:
  struct sigaction previous_ {};
  std::stop_source source_;
  std::jthread listener_;
};

}  // namespace fedtune
