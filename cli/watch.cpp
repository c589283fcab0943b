// SPDX-License-Identifier: Apache-2.0

#include "cli/watch.h"

#include <algorithm>
#include <cstdio>

#include "absl/time/clock.h"
#include "base/command_line.h"
#include "base/progress.h"
#include "cli/interrupt.h"
#include "cli/run_json.h"
#include "cli/run_text.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr absl::Duration kLiveInterval = absl::Milliseconds(100);
constexpr absl::Duration kPlainInterval = absl::Seconds(5);

// Draws a run again and again in the same place, or line after line.
class RunView {
 public:
  explicit RunView(bool json) : json_(json), live_(!json && IsLiveTerminal(stderr)) {}

  void Show(const v1::RunStatus& run) {
    last_ = run;
    if (json_) {
      fmt::print("{}\n", RunToJson(run).dump());
      std::fflush(stdout);
      return;
    }
    const absl::Time now = absl::Now();
    if (now - shown_ < (live_ ? kLiveInterval : kPlainInterval)) return;
    shown_ = now;
    live_ ? Redraw(WatchBlock(run)) : fmt::print(stderr, "{}\n", WatchLine(run));
  }

  // Leaves nothing of the live lines.
  void Clear() {
    if (live_) Redraw("");
  }

  const v1::RunStatus& last() const { return last_; }

 private:
  void Redraw(const std::string& block) {
    if (lines_ > 0) fmt::print(stderr, "\x1b[{}A\x1b[J", lines_);
    fmt::print(stderr, "{}", block);
    std::fflush(stderr);
    lines_ = std::count(block.begin(), block.end(), '\n');
  }

  const bool json_;
  const bool live_;
  v1::RunStatus last_;
  absl::Time shown_;
  int64_t lines_ = 0;
};

}  // namespace

absl::Status Watch(const CoordinatorConnection& connection, const std::string& run_id, bool json) {
  const Interrupt interrupt;
  RunView view(json);
  const absl::Status status = connection.WatchRun(
      run_id, interrupt.token(), [&view](const v1::RunStatus& run) { view.Show(run); });
  view.Clear();
  if (interrupt.token().stop_requested()) {
    fmt::print(stderr, "stopped watching; {} goes on. fedtune run watch {}\n", run_id, run_id);
    return absl::OkStatus();
  }
  if (!status.ok()) return status;
  if (view.last().state() == v1::RunStatus::STATE_FINISHED) {
    if (!json) fmt::print(stderr, "{}\n", EndText(view.last()));
    return absl::OkStatus();
  }
  return WithExitCode(absl::AbortedError(EndText(view.last())), ExitCode::kEndedWithoutItsGoal);
}

}  // namespace fedtune
