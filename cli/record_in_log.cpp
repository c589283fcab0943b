// SPDX-License-Identifier: Apache-2.0

#include "cli/record_in_log.h"

#include <algorithm>
#include <string_view>
#include <variant>

#include "base/printable_text.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// A sentence where the two differ.
class Differences {
 public:
  explicit Differences(std::string of_what) : of_what_(std::move(of_what)) {}

  template <typename Value>
  void Compare(std::string_view what, const Value& recorded, const Value& logged) {
    if (recorded == logged) return;
    found_.push_back(fmt::format("{} has {} {} in the record, and {} in the log", of_what_, what,
                                 TextOf(recorded), TextOf(logged)));
  }

  template <typename Value>
  void Compare(std::string_view what, const std::optional<Value>& recorded, const Value& logged) {
    if (recorded.has_value()) Compare(what, *recorded, logged);
  }

  std::vector<std::string> found() && { return std::move(found_); }

 private:
  static std::string TextOf(const Digest& digest) { return digest.ToString(); }
  static std::string TextOf(int64_t number) { return fmt::format("{}", number); }
  static std::string TextOf(const std::string& text) { return fmt::format("\"{}\"", text); }

  const std::string of_what_;
  std::vector<std::string> found_;
};

}  // namespace

void RecordInLog::Follow(const LogEntry& entry) {
  if (!begun_.has_value()) begun_ = entry.at;
  const LogEvent& event = entry.event;
  if (const auto* started = std::get_if<RunStarted>(&event)) {
    if (started->run == run_.run_id && !started_.has_value()) started_ = *started;
  } else if (const auto* released = std::get_if<RoundReleased>(&event)) {
    if (released->run == run_.run_id) released_.emplace(released->round + 1, *released);
  }
}

std::vector<std::string> RecordInLog::Contradictions() const {
  if (IsOlderThanLog()) return {};
  if (!started_.has_value()) {
    return {fmt::format("the log knows nothing of {}", run_.run_id)};
  }
  std::vector<std::string> found = CompareStart();
  for (const RecordedRound& round : run_.rounds) {
    std::vector<std::string> more = CompareRound(round);
    found.insert(found.end(), more.begin(), more.end());
  }
  return found;
}

bool RecordInLog::IsOlderThanLog() const {
  return !started_.has_value() && released_.empty() && run_.ended.has_value() &&
         begun_.has_value() && *run_.ended < *begun_;
}

int64_t RecordInLog::compared() const {
  return std::ranges::count_if(
      run_.rounds, [this](const RecordedRound& round) { return released_.contains(round.number); });
}

std::vector<std::string> RecordInLog::CompareStart() const {
  Differences differences(run_.run_id);
  differences.Compare("the plan", run_.plan, started_->plan);
  differences.Compare("the layout", run_.layout_digest, started_->layout);
  differences.Compare("the base model", run_.base_digest, PrintableText(started_->base_digest));
  return std::move(differences).found();
}

std::vector<std::string> RecordInLog::CompareRound(const RecordedRound& round) const {
  const auto logged = released_.find(round.number);
  if (logged == released_.end()) {
    const bool is_from_before = !released_.empty() && round.number < released_.begin()->first;
    if (is_from_before) return {};
    return {
        fmt::format("round {} of {} is not in the log; if the log was pulled before the "
                    "record was kept, pull it again",
                    round.number, run_.run_id)};
  }
  const RoundReleased& release = logged->second;
  Differences differences(fmt::format("round {} of {}", round.number, run_.run_id));
  differences.Compare("the adapter", round.adapter, release.adapter);
  differences.Compare("the attempt", round.attempts, release.attempt);
  differences.Compare("contributions", round.contributions, release.contributions);
  differences.Compare("as why it burnt", PrintableText(round.burnt, kLongestLogText),
                      PrintableText(release.burnt, kLongestLogText));
  return std::move(differences).found();
}

}  // namespace fedtune
