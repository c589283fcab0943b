// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdio>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "base/clock.h"

namespace fedtune {

// Whether `stream` is a terminal on which colour and live lines are welcome
// (a terminal, TERM is not "dumb").
bool IsLiveTerminal(std::FILE* stream);

// IsLiveTerminal and NO_COLOR is not set.
bool WantsColour(std::FILE* stream);

// "####......" of `width` characters; `fraction` is clamped to [0, 1].
std::string ProgressBar(double fraction, int width);

// When to say how far a long task is: not in its first two seconds, and then
// once in every `interval`. Not thread-safe.
class ProgressPace {
 public:
  explicit ProgressPace(const Clock& clock, absl::Duration interval = absl::Seconds(10));

  // Whether it is time to say something; counts as having said it.
  bool IsDue();

  // Since the pace began.
  absl::Duration elapsed() const { return clock_->Monotonic() - started_; }

 private:
  const Clock* clock_;
  absl::Duration interval_;
  absl::Duration started_;
  absl::Duration said_;
};

// Shows how far one long task is, on stderr: a live line with an estimate of
// the rest on a terminal, a plain line every ten seconds in a pipe. Nothing is
// shown for tasks of under two seconds. Not thread-safe.
class ProgressLine {
 public:
  ProgressLine(std::string task, const Clock& clock, std::FILE* stream = stderr);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // `detail` stands behind the bar, as in "31.4 GB".
  void Update(double fraction, std::string_view detail = "");

 private:
  const std::string task_;
  std::FILE* const stream_;
  const bool live_;
  ProgressPace pace_;
  bool drawn_ = false;
};

}  // namespace fedtune
