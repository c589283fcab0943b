// SPDX-License-Identifier: Apache-2.0

#include "privacy/audit/log_entry.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "base/json.h"
#include "base/overloaded.h"
#include "base/printable_text.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr char kTimeFormat[] = "%Y-%m-%dT%H:%M:%E3SZ";
constexpr size_t kTimeSize = 24;
constexpr int64_t kMostNumber = (int64_t{1} << 53) - 1;  // What every reader of JSON has exactly.
constexpr std::array<std::string_view, 3> kEndStates = {"finished", "stopped", "failed"};

std::string TimeText(absl::Time time) {
  return absl::FormatTime(kTimeFormat, time, absl::UTCTimeZone());
}

// The keys of each event, for who writes it and for who reads it.

template <typename Form>
void Keys(Form& form, LogBegun& event) {
  form.Text("id", event.id);
}

template <typename Form>
void Keys(Form& form, RunStarted& event) {
  form.Text("run", event.run);
  form.Hash("plan", event.plan);
  form.Hash("layout", event.layout);
  form.Text("base_digest", event.base_digest);
  form.Hash("adapter", event.adapter);
  form.Text("started_by", event.started_by);
}

template <typename Form>
void Keys(Form& form, RoundOpened& event) {
  form.Text("run", event.run);
  form.Round("round", event.round);
  form.Number("attempt", event.attempt, 1);
  form.Hash("adapter", event.adapter);
}

template <typename Form>
void Keys(Form& form, ContributionCounted& event) {
  form.Text("run", event.run);
  form.Round("round", event.round);
  form.Text("institution", event.institution);
  form.Hash("contribution", event.contribution);
}

template <typename Form>
void Keys(Form& form, RoundReleased& event) {
  form.Text("run", event.run);
  form.Round("round", event.round);
  form.Number("attempt", event.attempt, 1);
  form.Number("contributions", event.contributions, 0);
  form.Hash("adapter", event.adapter);
  form.Reason("burnt", event.burnt);
}

template <typename Form>
void Keys(Form& form, PauseAsked& event) {
  form.Text("run", event.run);
  form.Reason("reason", event.reason);
}

template <typename Form>
void Keys(Form& form, RunResumed& event) {
  form.Text("run", event.run);
}

template <typename Form>
void Keys(Form& form, StopAsked& event) {
  form.Text("run", event.run);
  form.Reason("reason", event.reason);
}

template <typename Form>
void Keys(Form& form, RunClosed& event) {
  form.Text("run", event.run);
  form.EndState("state", event.state);
  form.Reason("reason", event.reason);
}

template <typename Form>
void Keys(Form& form, RunReopened& event) {
  form.Text("run", event.run);
}

class Written {
 public:
  explicit Written(nlohmann::ordered_json& json) : json_(json) {}

  void Text(const char* key, const std::string& text) {
    json_[key] = PrintableText(text, kLongestLogText);
  }
  void Reason(const char* key, const std::string& text) {
    if (!text.empty()) Text(key, text);
  }
  void EndState(const char* key, const std::string& state) { Text(key, state); }
  void Hash(const char* key, const Digest& digest) { json_[key] = digest.ToString(); }
  void Round(const char* key, int64_t round) { Number(key, round + 1, 1); }
  void Number(const char* key, int64_t number, int64_t least) {
    Check(number >= least && number <= kMostNumber, "the numbers of a log entry are counts");
    json_[key] = number;
  }

 private:
  nlohmann::ordered_json& json_;
};

// After the first fault, nothing is read any more.
class Read {
 public:
  explicit Read(const nlohmann::json& json) : json_(json) {}

  void Text(const char* key, std::string& text) {
    const nlohmann::json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_string()) return Fault(key, "no text");
    text = value->get<std::string>();
  }
  void Reason(const char* key, std::string& text) {
    if (json_.contains(key)) Text(key, text);
  }
  void EndState(const char* key, std::string& state) {
    Text(key, state);
    if (std::ranges::find(kEndStates, state) == kEndStates.end()) Fault(key, "no end of a run");
  }
  void Hash(const char* key, Digest& digest) {
    std::string text;
    Text(key, text);
    if (!status_.ok()) return;
    const absl::StatusOr<Digest> parsed = Digest::Parse(text);
    if (!parsed.ok()) return Fault(key, "no SHA-256 digest");
    digest = *parsed;
  }
  void Round(const char* key, int64_t& round) {
    Number(key, round, 1);
    --round;
  }
  void Number(const char* key, int64_t& number, int64_t least) {
    const nlohmann::json* value = Find(key);
    if (value == nullptr) return;
    const bool is_whole = value->is_number_unsigned() && value->get<uint64_t>() <= kMostNumber;
    if (!is_whole || value->get<int64_t>() < least) {
      return Fault(key, fmt::format("no whole number from {} to {}", least, kMostNumber));
    }
    number = value->get<int64_t>();
  }

  const absl::Status& status() const { return status_; }

 private:
  const nlohmann::json* Find(const char* key) {
    if (!status_.ok()) return nullptr;
    const auto found = json_.find(key);
    if (found != json_.end()) return &*found;
    status_ = absl::InvalidArgumentError(fmt::format("the log entry has no \"{}\"", key));
    return nullptr;
  }

  void Fault(const char* key, std::string_view what) {
    if (!status_.ok()) return;
    status_ = absl::InvalidArgumentError(fmt::format("\"{}\" of the log entry is {}", key, what));
  }

  const nlohmann::json& json_;
  absl::Status status_;
};

template <typename Event>
absl::StatusOr<LogEvent> ReadEvent(const nlohmann::json& json) {
  Event event;
  Read read(json);
  Keys(read, event);
  RETURN_IF_ERROR(read.status());
  return event;
}

// Reads that of the variant's alternatives which has the name.
template <typename... Events>
absl::StatusOr<LogEvent> ReadNamed(std::string_view name, const nlohmann::json& json,
                                   const std::variant<Events...>& /*of*/) {
  absl::StatusOr<LogEvent> read = LogEvent();
  const bool is_known =
      ((name == Events::kEvent && ((read = ReadEvent<Events>(json)), true)) || ...);
  if (is_known) return read;
  return absl::UnimplementedError(
      fmt::format("the log entry is of an event, \"{}\", that this program does not know: a newer "
                  "one does",
                  PrintableText(name, kLongestLogText)));
}

absl::StatusOr<absl::Time> ReadTime(const std::string& text) {
  absl::Time time;
  std::string error;
  if (text.size() != kTimeSize || !absl::ParseTime(kTimeFormat, text, &time, &error) ||
      TimeText(time) != text) {
    return absl::InvalidArgumentError(
        "\"at\" of the log entry is no time such as 2026-03-14T09:26:53.589Z");
  }
  return time;
}

// What all entries have.
struct Heading {
  std::string at;
  std::string event;
};

absl::StatusOr<Heading> ReadHeading(const nlohmann::json& json) {
  Heading heading;
  Read read(json);
  read.Text("at", heading.at);
  read.Text("event", heading.event);
  RETURN_IF_ERROR(read.status());
  return heading;
}

std::string DescribeRelease(const RoundReleased& release) {
  const std::string what =
      fmt::format("attempt {}, {} contribution{}", release.attempt, release.contributions,
                  release.contributions == 1 ? "" : "s");
  const std::string adapter = release.adapter.ToString();
  const std::string round = fmt::format("round {} of {}", release.round + 1, release.run);
  if (release.burnt.empty()) return fmt::format("{} released, {}: {}", round, what, adapter);
  return fmt::format("{} burnt, {}, the adapter stays {}: {}", round, what, adapter, release.burnt);
}

absl::StatusOr<LogEntry> ReadEntry(const nlohmann::json& json) {
  ASSIGN_OR_RETURN(const Heading heading, ReadHeading(json));
  ASSIGN_OR_RETURN(const absl::Time at, ReadTime(heading.at));
  ASSIGN_OR_RETURN(LogEvent event, ReadNamed(heading.event, json, LogEvent()));
  return LogEntry{.at = at, .event = std::move(event)};
}

std::string Because(const std::string& reason) { return reason.empty() ? "" : ": " + reason; }

}  // namespace

std::string WriteLogEntry(const LogEntry& entry) {
  LogEvent event = entry.event;
  return std::visit(
      [&](auto& one) {
        nlohmann::ordered_json json = {{"at", TimeText(entry.at)}, {"event", one.kEvent}};
        Written written(json);
        Keys(written, one);
        return json.dump();
      },
      event);
}

absl::StatusOr<LogEntry> ParseLogEntry(std::string_view bytes) {
  if (bytes.size() > kLongestLogEntry) {
    return absl::InvalidArgumentError(fmt::format("a log entry of {} bytes; none has more than {}",
                                                  bytes.size(), kLongestLogEntry));
  }
  // Of what is written anew to the same bytes no key comes twice: the rest is read with care.
  const auto quick = nlohmann::json::parse(bytes, nullptr, /*allow_exceptions=*/false);
  if (quick.is_object()) {
    absl::StatusOr<LogEntry> entry = ReadEntry(quick);
    if (entry.ok() && WriteLogEntry(*entry) == bytes) return entry;
  }
  ASSIGN_OR_RETURN(const nlohmann::json json, ParseJson(bytes, "log entry"));
  if (!json.is_object()) return absl::InvalidArgumentError("a log entry is a JSON object");
  RETURN_IF_ERROR(ReadEntry(json).status());
  return absl::InvalidArgumentError(
      "the log entry is not in the form that a coordinator writes: it has other keys, another "
      "order of them, spaces or escapes");
}

std::string RunOf(const LogEvent& event) {
  return std::visit(
      [](const auto& one) {
        if constexpr (requires { one.run; }) return one.run;
        return std::string();
      },
      event);
}

std::string Describe(const LogEvent& event) {
  return std::visit(
      Overloaded{[](const LogBegun& one) { return fmt::format("log {} begun", one.id); },
                 [](const RunStarted& one) {
                   return fmt::format(
                       "{} started by {}, plan {}, layout {}, base model {}, from {}", one.run,
                       one.started_by, one.plan.ToString(), one.layout.ToString(), one.base_digest,
                       one.adapter.ToString());
                 },
                 [](const RoundOpened& one) {
                   return fmt::format("round {} of {} opened, attempt {}, from {}", one.round + 1,
                                      one.run, one.attempt, one.adapter.ToString());
                 },
                 [](const ContributionCounted& one) {
                   return fmt::format("contribution {} of {} counted in round {} of {}",
                                      one.contribution.ToString(), one.institution, one.round + 1,
                                      one.run);
                 },
                 [](const RoundReleased& one) { return DescribeRelease(one); },
                 [](const PauseAsked& one) {
                   return fmt::format("pause of {} asked{}", one.run, Because(one.reason));
                 },
                 [](const RunResumed& one) { return fmt::format("{} resumed", one.run); },
                 [](const StopAsked& one) {
                   return fmt::format("stop of {} asked{}", one.run, Because(one.reason));
                 },
                 [](const RunClosed& one) {
                   return fmt::format("{} {}{}", one.run, one.state, Because(one.reason));
                 },
                 [](const RunReopened& one) { return fmt::format("{} reopened", one.run); }},
      event);
}

}  // namespace fedtune
