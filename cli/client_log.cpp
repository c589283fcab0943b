// SPDX-License-Identifier: Apache-2.0

#include "cli/client_log.h"

#include <charconv>
#include <map>
#include <optional>

#include "base/json.h"
#include "base/printable_text.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr std::string_view kEvent = "round assigned";
constexpr size_t kFewestDigits = 8;

using Fields = std::map<std::string, std::string, std::less<>>;

// What stands before the next `end`, which goes with it.
std::string_view TakeUntil(std::string_view& text, char end) {
  const size_t at = text.find(end);
  const std::string_view taken = text.substr(0, at);
  text = at == std::string_view::npos ? std::string_view() : text.substr(at + 1);
  return taken;
}

// Of `... info round assigned run=run-7f3a round=3 adapter=5f2c9d8a1b3e`; none of these
// values is ever in quotes.
Fields FieldsOfText(std::string_view line) {
  Fields fields;
  std::string_view rest = line.substr(line.find(kEvent));
  while (!rest.empty()) {
    const std::string_view word = TakeUntil(rest, ' ');
    const size_t equals = word.find('=');
    if (equals == std::string_view::npos) continue;
    fields.emplace(word.substr(0, equals), word.substr(equals + 1));
  }
  return fields;
}

Fields FieldsOfJson(std::string_view line) {
  Fields fields;
  const auto json = ParseJson(line.substr(line.find('{')), "a line");
  if (!json.ok() || !json->is_object()) return fields;
  for (const auto& [key, value] : json->items()) {
    if (value.is_string()) fields[key] = value.get<std::string>();
  }
  if (fields["event"] != kEvent) fields.clear();
  return fields;
}

std::optional<LoggedRound> RoundIn(const Fields& fields, std::string_view run_id) {
  const auto run = fields.find("run");
  const auto number = fields.find("round");
  const auto adapter = fields.find("adapter");
  if (run == fields.end() || run->second != run_id || number == fields.end() ||
      adapter == fields.end() || adapter->second.size() < kFewestDigits) {
    return std::nullopt;
  }
  LoggedRound round{.number = 0, .adapter = adapter->second};
  const std::string& digits = number->second;
  const char* const end = digits.data() + digits.size();
  const auto read = std::from_chars(digits.data(), end, round.number);
  if (read.ec != std::errc() || read.ptr != end || round.number < 1) return std::nullopt;
  return round;
}

}  // namespace

std::vector<LoggedRound> RoundsInLog(std::string_view log, std::string_view run_id) {
  std::vector<LoggedRound> rounds;
  while (!log.empty()) {
    std::string_view line = TakeUntil(log, '\n');
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find(kEvent) == std::string_view::npos) continue;
    const bool is_json = line.ends_with('}') && line.find('{') < line.find(kEvent);
    const auto round = RoundIn(is_json ? FieldsOfJson(line) : FieldsOfText(line), run_id);
    if (round.has_value()) rounds.push_back(*round);
  }
  return rounds;
}

LogComparison CompareWithLog(const RecordedRun& run, const std::vector<LoggedRound>& log) {
  LogComparison comparison;
  std::map<int64_t, std::string> by_round;
  for (const LoggedRound& logged : log) {
    const int64_t before = logged.number - 1;
    if (before < 1 || before > std::ssize(run.rounds)) continue;
    const std::string recorded = run.rounds[static_cast<size_t>(before) - 1].adapter.ToHex();
    if (recorded.starts_with(logged.adapter)) {
      by_round.emplace(logged.number, logged.adapter);
      continue;
    }
    comparison.contradictions.push_back(
        fmt::format("round {} began with adapter {}, and the record has {} after round {}",
                    logged.number, PrintableText(logged.adapter), recorded.substr(0, 12), before));
  }
  comparison.compared = std::ssize(by_round);
  return comparison;
}

}  // namespace fedtune
