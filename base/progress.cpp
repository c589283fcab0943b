// SPDX-License-Identifier: Apache-2.0

#include "base/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "base/units.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr absl::Duration kSilent = absl::Seconds(2);
constexpr absl::Duration kLiveInterval = absl::Milliseconds(100);

}  // namespace

bool IsLiveTerminal(std::FILE* stream) {
  const char* term = std::getenv("TERM");
  return ::isatty(::fileno(stream)) == 1 && term != nullptr && std::string_view(term) != "dumb";
}

bool WantsColour(std::FILE* stream) {
  const char* no_color = std::getenv("NO_COLOR");
  return IsLiveTerminal(stream) && (no_color == nullptr || *no_color == '\0');
}

std::string ProgressBar(double fraction, int width) {
  if (!(fraction > 0)) fraction = 0;  // NaN too.
  const int done = static_cast<int>(std::lround(std::min(fraction, 1.0) * width));
  return std::string(static_cast<size_t>(done), '#') +
         std::string(static_cast<size_t>(width - done), '.');
}

ProgressPace::ProgressPace(const Clock& clock, absl::Duration interval)
    : clock_(&clock),
      interval_(interval),
      started_(clock.Monotonic()),
      said_(started_ + kSilent - interval) {}

bool ProgressPace::IsDue() {
  const absl::Duration now = clock_->Monotonic();
  if (now - said_ < interval_) return false;
  said_ = now;
  return true;
}

ProgressLine::ProgressLine(std::string task, const Clock& clock, std::FILE* stream)
    : task_(std::move(task)),
      stream_(stream),
      live_(IsLiveTerminal(stream)),
      pace_(live_ ? ProgressPace(clock, kLiveInterval) : ProgressPace(clock)) {}

ProgressLine::~ProgressLine() {
  if (drawn_ && live_) fmt::print(stream_, "\r\x1b[K");
}

void ProgressLine::Update(double fraction, std::string_view detail) {
  if (!pace_.IsDue()) return;
  drawn_ = true;
  std::string line = fmt::format("{}   {}   {:3.0f} %", task_, ProgressBar(fraction, 20),
                                 100 * std::clamp(fraction, 0.0, 1.0));
  if (!detail.empty()) line += fmt::format("   {}", detail);
  if (fraction > 0.01 && fraction < 1) {
    line += fmt::format("   {} left", HumanDuration(pace_.elapsed() * ((1 - fraction) / fraction)));
  }
  if (live_) {
    // Without wrapping: a line longer than the terminal is cut, not repeated.
    fmt::print(stream_, "\r\x1b[K\x1b[?7l{}\x1b[?7h", line);
  } else {
    fmt::print(stream_, "{}\n", line);
  }
  std::fflush(stream_);
}

}  // namespace fedtune
