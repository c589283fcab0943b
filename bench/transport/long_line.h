// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>

#include "absl/time/time.h"

namespace fedtune::bench {

// A port of loopback whose connections go on to another one, and whose bytes arrive later by
// a delay each way, however many are on their way.
class LongLine {
 public:
  LongLine(int to_port, absl::Duration delay);
  LongLine(const LongLine&) = delete;
  LongLine& operator=(const LongLine&) = delete;
  // Closes all connections and waits for its threads.
  ~LongLine();

  int port() const;

 private:
  class Relay;
  const std::unique_ptr<Relay> relay_;
};

}  // namespace fedtune::bench
