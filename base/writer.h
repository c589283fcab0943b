// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace fedtune {

// Which process may write a state directory.
struct Writer {
  int64_t pid = 0;
  std::string host;
  absl::Time since;
};

// This process, from `now` on.
Writer ThisWriter(absl::Time now);

// "process 4711 on hub since 2026-11-26T03:51:32Z".
std::string ToText(const Writer& writer);

}  // namespace fedtune
