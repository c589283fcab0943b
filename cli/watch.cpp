// SPDX-License-Identifier: Apache-2.0

#include "cli/watch.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <stop_token>
#include <thread>

#include "base/clock.h"
#include "base/command_line.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/status.h"
#include "base/units.h"
#include "cli/interrupt.h"
#include "cli/run_json.h"
#include "cli/watch_pace.h"
#include "cli/watch_text.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// When nothing happens a live line counts the time down, and a plain one is a sign of life.
constexpr WatchIntervals kLive = {absl::Milliseconds(100), absl::Seconds(1)};
constexpr WatchIntervals kPlain = {absl::Seconds(5), absl::Minutes(1)};

// How often a coordinator that is away is asked.
constexpr absl::Duration kAskedEvery = absl::Seconds(1);

// The first lines that a terminal has room for, and how many there are more.
std::string FitToTerminal(const std::string& block) {
  winsize size{};
  if (::ioctl(::fileno(stderr), TIOCGWINSZ, &size) != 0 || size.ws_row < 4) return block;
  const auto lines = std::count(block.begin(), block.end(), '\n');
  if (lines < size.ws_row) return block;
  size_t end = 0;
  for (int line = 0; line < size.ws_row - 2; ++line) end = block.find('\n', end) + 1;
  return block.substr(0, end) + fmt::format("  ... and {} more\n", lines - size.ws_row + 2);
}

// Draws a run again and again in the same place, or line after line. A thread
// of its own follows the clock while the run says nothing.
class RunView {
 public:
  explicit RunView(bool json)
      : json_(json),
        live_(!json && IsLiveTerminal(stderr)),
        colour_(WantsColour(stderr) ? Colour::kYes : Colour::kNo),
        pace_(clock_, live_ ? kLive : kPlain) {
    if (!json_) ticker_ = std::jthread([this](const std::stop_token& stop) { Follow(stop); });
  }

  void Show(v1::RunStatus run) {
    const std::lock_guard lock(mutex_);
    if (json_) {
      fmt::print("{}", JsonLine(RunToJson(run)));
      std::fflush(stdout);
    } else {
      Tell(WatchNews(last_, run));
    }
    last_ = std::move(run);
    pace_.Heard();
    if (!json_) Draw();
  }

  // The coordinator is not there. False: it has been away for too long, or never was there.
  bool Lose(const absl::Status& why) {
    const std::lock_guard lock(mutex_);
    if (!pace_.has_heard()) return false;
    if (pace_.Lose()) {
      Erase();
      fmt::print(stderr, "  {}; trying again for {}, and the run may go on meanwhile\n",
                 Message(why), HumanDuration(kWatchPatience));
    }
    return !pace_.has_waited_enough();
  }

  // Ends the drawing; leaves nothing of the live lines.
  void Close() {
    if (ticker_.joinable()) {
      ticker_.request_stop();
      ticker_.join();
    }
    Erase();
    std::fflush(stderr);
  }

  // After Close().
  const v1::RunStatus& last() const { return last_; }

 private:
  void Follow(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
      if (pace_.has_heard() && !pace_.is_lost()) Draw();
      wake_.wait_for(lock, stop, std::chrono::milliseconds(100), [] { return false; });
    }
  }

  void Draw() {
    if (!pace_.IsDue()) return;
    live_ ? Redraw(WatchBlock(Present(), colour_))
          : fmt::print(stderr, "{}\n", WatchLine(Present()));
  }

  // As it is now, if nothing but the time has changed.
  v1::RunStatus Present() const {
    v1::RunStatus run = last_;
    const int64_t passed = absl::ToInt64Milliseconds(pace_.since_heard());
    if (run.time_left_ms() > 0) {
      run.set_time_left_ms(std::max<int64_t>(run.time_left_ms() - passed, 1));
    }
    return run;
  }

  // Lines that stay, above the live ones.
  void Tell(const std::vector<std::string>& news) {
    if (news.empty()) return;
    Erase();
    for (const std::string& line : news) fmt::print(stderr, "  {}\n", line);
    pace_.DrawAnew();
  }

  void Erase() {
    if (lines_ > 0) fmt::print(stderr, "\r\x1b[{}A\x1b[J", lines_);
    lines_ = 0;
  }

  // Without wrapping, so that as many lines are erased as were drawn.
  void Redraw(const std::string& block) {
    const std::string fitted = FitToTerminal(block);
    Erase();
    fmt::print(stderr, "\x1b[?7l{}\x1b[?7h", fitted);
    std::fflush(stderr);
    lines_ = std::count(fitted.begin(), fitted.end(), '\n');
  }

  const bool json_;
  const bool live_;
  const Colour colour_;

  std::mutex mutex_;
  std::condition_variable_any wake_;
  const SystemClock clock_;
  WatchPace pace_;
  v1::RunStatus last_;
  int64_t lines_ = 0;

  std::jthread ticker_;  // Last: it uses all of the above.
};

// Until the run has ended, whatever becomes of the line; or why it cannot be followed.
absl::Status Follow(const CoordinatorConnection& connection, const std::string& run_id,
                    const std::stop_token& stop, RunView& view) {
  while (true) {
    absl::Status status =
        connection.WatchRun(run_id, stop, [&view](const v1::RunStatus& run) { view.Show(run); });
    if (!absl::IsUnavailable(status) || !view.Lose(status)) return status;
    connection.WaitToAskAgain(kAskedEvery, stop);
    if (stop.stop_requested()) return status;
  }
}

}  // namespace

absl::Status Watch(const CoordinatorConnection& connection, const std::string& run_id, bool json) {
  const Interrupt interrupt;
  RunView view(json);
  const absl::Status status = Follow(connection, run_id, interrupt.token(), view);
  view.Close();
  if (interrupt.token().stop_requested()) {
    fmt::print(stderr, "stopped watching; {} goes on. fedtune run watch {}\n", run_id, run_id);
    return absl::OkStatus();
  }
  if (!status.ok()) {
    return absl::Status(
        status.code(), fmt::format("{}; the run may go on without this watch. fedtune run watch {}",
                                   Message(status), run_id));
  }
  if (view.last().state() == v1::RunStatus::STATE_FINISHED) {
    if (!json) fmt::print(stderr, "{}\n", EndText(view.last()));
    return absl::OkStatus();
  }
  return WithExitCode(absl::AbortedError(EndText(view.last())), ExitCode::kEndedWithoutItsGoal);
}

}  // namespace fedtune
