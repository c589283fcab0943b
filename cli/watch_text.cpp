// SPDX-License-Identifier: Apache-2.0

#include "cli/watch_text.h"

#include <algorithm>
#include <string_view>

#include "base/progress.h"
#include "base/units.h"
#include "cli/run_text.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace fedtune {
namespace {

constexpr int kBarWidth = 20;
constexpr size_t kMostNames = 3;

// A round that has run for so long has got slow clients, and names them.
constexpr absl::Duration kNamesTheAwaited = absl::Seconds(2);

std::string Painted(std::string_view text, std::string_view code, Colour colour) {
  return colour == Colour::kYes ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : std::string(text);
}

// Green for done, red for what needs somebody's attention.
std::string PaintedState(const v1::RunClient& client, Colour colour) {
  if (client.state() == "done") return Painted(client.state(), "32", colour);
  if (client.state() == "failed" || client.state() == "offline") {
    return Painted(client.state(), "31", colour);
  }
  return client.state();
}

// Whatever the coordinator said, this fits.
uint64_t Whole(double number) {
  return number > 0 ? static_cast<uint64_t>(std::min(number, 1e18)) : 0;
}

std::string Bar(double fraction) {
  return fmt::format("{}  {:3.0f} %", ProgressBar(fraction, kBarWidth), 100 * fraction);
}

std::string ClientStanding(const v1::RunClient& client, Colour colour) {
  if (client.state() == "training" || client.state() == "evaluating" ||
      client.state() == "downloading" || client.state() == "uploading") {
    std::string text = fmt::format("{}   {}", Bar(client.fraction()), client.state());
    if (client.tokens_per_second() > 0) {
      text += fmt::format("   {} tok/s", GroupDigits(Whole(client.tokens_per_second())));
    }
    if (!client.reason().empty()) text += "   " + client.reason();
    return text;
  }
  if (client.state() == "done") {
    return fmt::format("{}         {}", ProgressBar(1, kBarWidth), PaintedState(client, colour));
  }
  if (client.reason().starts_with("waiting")) return client.reason();
  std::string text = PaintedState(client, colour);
  if (!client.reason().empty()) text += ": " + client.reason();
  return text;
}

// No estimate: most phases end long before.
std::string Deadline(const v1::RunStatus& run) {
  return fmt::format("ends in {} at the latest",
                     HumanDuration(absl::Milliseconds(run.time_left_ms())));
}

bool IsGone(const v1::RunClient& client) { return client.state() == "offline"; }

int64_t CountOf(const v1::RunStatus& run, std::string_view state) {
  return std::count_if(run.clients().begin(), run.clients().end(),
                       [&](const v1::RunClient& client) { return client.state() == state; });
}

// "uke, helios and 2 others".
std::string Names(const std::vector<std::string>& names) {
  if (names.size() == 1) return names.front();
  const bool all = names.size() <= kMostNames + 1;  // "1 others" is no shorter than the name.
  const auto shown = static_cast<std::ptrdiff_t>(all ? names.size() - 1 : kMostNames);
  return fmt::format("{} and {}", fmt::join(names.begin(), names.begin() + shown, ", "),
                     all ? names.back() : fmt::format("{} others", names.size() - kMostNames));
}

int64_t AwaitedCount(const v1::RunStatus& run) {
  return std::count_if(run.clients().begin(), run.clients().end(),
                       [](const v1::RunClient& client) { return client.awaited(); });
}

// Whom a watcher should know of: those who have gone, or the last ones of a
// round that takes its time. Nobody while all is going well.
std::vector<std::string> Stragglers(const v1::RunStatus& run) {
  const absl::Duration elapsed =
      absl::Milliseconds(run.round_deadline_ms()) - absl::Milliseconds(run.time_left_ms());
  const bool names_all = run.phase() != "inviting" && elapsed >= kNamesTheAwaited &&
                         AwaitedCount(run) < CountOf(run, "done");
  std::vector<std::string> names;
  for (const v1::RunClient& client : run.clients()) {
    if (!client.awaited() || !(names_all || IsGone(client))) continue;
    names.push_back(IsGone(client) ? client.institution() + " (offline)" : client.institution());
  }
  return names;
}

// "waiting for uke (offline)"; empty while all is going well.
std::string WaitingFor(const v1::RunStatus& run) {
  const std::vector<std::string> names = Stragglers(run);
  if (names.empty()) return "";
  return fmt::format("waiting for {}", Names(names));
}

// What happens at the deadline.
std::string Afterwards(const v1::RunStatus& run) {
  if (run.phase() != "training") return "";
  const int64_t done = CountOf(run, "done");
  if (done < run.quorum()) return fmt::format("; the quorum is {}", run.quorum());
  return fmt::format("; at the deadline the round closes with the {} that are done", done);
}

// "2 of 3 clients done, 1 failed".
std::string Tally(const v1::RunStatus& run) {
  const int64_t failed = CountOf(run, "failed");
  const int64_t done = CountOf(run, "done");
  std::string text = fmt::format("{} of {} clients done", done, done + AwaitedCount(run) + failed);
  if (failed > 0) text += fmt::format(", {} failed", failed);
  if (run.phase() == "training" && run.close_at() > 0) {
    text += fmt::format(", closes with {}", run.close_at());
  }
  return text;
}

// Counted from 1; the last one when all are done.
int64_t NextRound(const v1::RunStatus& run) {
  return run.rounds_done() < run.round_count() ? run.rounds_done() + 1 : run.round_count();
}

std::string RoundHead(const v1::RunStatus& run) {
  if (run.state() == v1::RunStatus::STATE_PAUSED) return PauseText(run);
  if (run.phase() == "inviting") {
    return fmt::format("inviting clients   {} of {} accepted{}", run.accepted_count(),
                       run.invited_count(), run.time_left_ms() > 0 ? "   " + Deadline(run) : "");
  }
  std::string head = run.phase() == "evaluating"
                         ? "final evaluation"
                         : fmt::format("round {}/{}", NextRound(run), run.round_count());
  if (run.attempt() > 1) head += fmt::format(", attempt {}", run.attempt());
  if (run.phase() == "training") head += "   training";
  if (run.phase() == "aggregating") {
    // Each of its phases has a deadline of its own.
    return fmt::format("{}   adding up masked contributions   {}   {}", head, Tally(run),
                       Deadline(run));
  }
  if (run.phase() == "releasing") {
    head += "   making the next adapter";
  } else if (!run.phase().empty()) {
    head += "   " + Tally(run);
  }
  if (run.time_left_ms() > 0) {
    head += fmt::format("   {} (deadline {})", Deadline(run),
                        HumanDuration(absl::Milliseconds(run.round_deadline_ms())));
  }
  return head;
}

std::string ClientNews(const v1::RunClient& client) {
  const std::string why = client.reason().empty() ? "" : ": " + client.reason();
  if (client.state() == "declined") return fmt::format("{} declined{}", client.institution(), why);
  if (client.state() == "refusing") {
    return fmt::format("{} refuses the coordinator's log{}", client.institution(), why);
  }
  if (client.state() == "failed") return fmt::format("{} failed{}", client.institution(), why);
  if (client.state() != "offline") return "";
  return fmt::format("{} went offline{}", client.institution(),
                     client.awaited() ? "; the round waits for it" : "");
}

const v1::RunClient* Find(const v1::RunStatus& run, std::string_view institution) {
  for (const v1::RunClient& client : run.clients()) {
    if (client.institution() == institution) return &client;
  }
  return nullptr;
}

}  // namespace

std::string WatchBlock(const v1::RunStatus& run, Colour colour) {
  std::string block = Painted(RoundHead(run), "1", colour) + "\n";
  if (run.has_last_round()) block += fmt::format("  last round   {}\n", LastRoundText(run));
  if (run.has_first_evaluation()) {
    block += fmt::format("  evaluation   loss {} on the clients' own validation splits\n",
                         LossText(run));
  }
  size_t width = 0;
  for (const v1::RunClient& client : run.clients()) {
    width = std::max(width, client.institution().size());
  }
  if (run.pausing()) block += fmt::format("  {}\n", PauseText(run));
  if (const std::string waits = WaitText(run); !waits.empty()) {
    block += fmt::format("  {}\n", waits);
  }
  for (const v1::RunClient& client : run.clients()) {
    block +=
        fmt::format("  {:<{}}  {}\n", client.institution(), width, ClientStanding(client, colour));
  }
  if (const std::string waiting = WaitingFor(run); !waiting.empty()) {
    block += fmt::format("  {}{}\n", waiting, Afterwards(run));
  }
  return block;
}

std::string WatchLine(const v1::RunStatus& run) {
  std::string line = fmt::format("{}  {}", run.run_id(), RoundHead(run));
  if (const std::string waiting = WaitingFor(run); !waiting.empty()) line += "   " + waiting;
  if (const std::string waits = WaitText(run); !waits.empty()) line += "   " + waits;
  if (run.has_last_round()) line += fmt::format("   last round: {}", LastRoundText(run));
  return line;
}

std::vector<std::string> WatchNews(const v1::RunStatus& before, const v1::RunStatus& now) {
  std::vector<std::string> news;
  const bool known_run = !before.run_id().empty();
  if (now.pausing() && !before.pausing()) news.push_back("the run " + PauseText(now));
  if (known_run && before.pausing() && now.state() == v1::RunStatus::STATE_RUNNING &&
      !now.pausing()) {
    news.emplace_back("the run does not pause after all");
  }
  if (before.state() == v1::RunStatus::STATE_PAUSED && now.state() != v1::RunStatus::STATE_PAUSED) {
    news.emplace_back("the run is resumed");
  }
  if (const std::string waits = WaitText(now); !waits.empty() && WaitText(before).empty()) {
    news.push_back(waits);
  }
  if (std::string most = LargestShareText(now); !most.empty() && LargestShareText(before).empty()) {
    news.push_back(std::move(most));
  }
  const v1::RoundSummary& last = now.last_round();
  if (!last.burnt().empty() && known_run &&
      (!before.has_last_round() || before.last_round().round() != last.round())) {
    news.push_back(fmt::format("round {} burnt, and left the adapter as it was: {}",
                               last.round() + 1, last.burnt()));
  }
  for (const v1::RunClient& client : now.clients()) {
    const v1::RunClient* known = Find(before, client.institution());
    if (known != nullptr && known->state() == client.state()) continue;
    if (known != nullptr && known->state() == "offline" && client.state() != "declined" &&
        client.state() != "refusing" && now.ended_unix_ms() == 0) {
      news.push_back(fmt::format("{} is back", client.institution()));
    }
    if (std::string text = ClientNews(client); !text.empty()) news.push_back(std::move(text));
  }
  return news;
}

std::string EndText(const v1::RunStatus& run) {
  std::string text = fmt::format("{} {} after {} of {} rounds", run.run_id(),
                                 StateName(run.state()), run.rounds_done(), run.round_count());
  if (!run.reason().empty()) text += fmt::format(": {}", run.reason());
  if (!run.has_last_evaluation()) return text;
  return text +
         fmt::format("; {} over {} records of the clients' own validation splits",
                     LastEvaluationText(run),
                     GroupDigits(static_cast<uint64_t>(run.last_evaluation().example_count())));
}

}  // namespace fedtune
