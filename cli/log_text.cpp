// SPDX-License-Identifier: Apache-2.0

#include "cli/log_text.h"

#include <optional>

#include "absl/time/time.h"
#include "base/json.h"
#include "base/printable_text.h"
#include "base/units.h"
#include "fmt/format.h"
#include "privacy/audit/log_entry.h"

namespace fedtune {
namespace {

using Json = nlohmann::ordered_json;

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone());
}

Json TimeToJson(const std::optional<absl::Time>& time) {
  return time.has_value() ? Json(TimeText(*time)) : Json(nullptr);
}

// "1 round", "7 rounds".
std::string Count(uint64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string RunsText(const LogVerification& verification) {
  return fmt::format(
      "{}, with {} released{}, all in order", verification.runs,
      Count(verification.rounds, "round"),
      verification.burnt > 0 ? fmt::format(", {} of them burnt", verification.burnt) : "");
}

}  // namespace

std::string LogVerificationText(const LogVerification& verification, const std::string& log) {
  const LogCheckpoint& checkpoint = verification.checkpoint;
  std::string text = fmt::format("{} is the log of federation {} as coordinator {} has signed it\n",
                                 log, checkpoint.federation, verification.coordinator);
  const auto line = [&text](std::string_view what, const std::string& is) {
    text += fmt::format("\n  {:<11} {}", what, is);
  };
  line("entries", fmt::format("{}, hashed anew", checkpoint.head.size));
  line("root", checkpoint.head.root.ToString());
  if (verification.first.has_value()) {
    line("time",
         fmt::format("{} to {}", TimeText(*verification.first), TimeText(*verification.last)));
  }
  line("runs", RunsText(verification));
  if (verification.set_back > 0) {
    line("clock", fmt::format("set back {}, by {} at most", Count(verification.set_back, "time"),
                              HumanDuration(verification.most_set_back)));
  }
  if (verification.unknown > 0) {
    line("unknown", fmt::format("{} by a newer version, whose order was not looked at",
                                Count(verification.unknown, "event")));
  }
  for (const LogVerification::Kept& kept : verification.checkpoints) {
    line("checkpoint", fmt::format("{}: the first {} are those that it has seen",
                                   kept.file.string(), kept.entries));
  }
  for (const LogVerification::Recorded& recorded : verification.records) {
    line("record",
         fmt::format("{}: {} of {} rounds of {} are in the log, and agree", recorded.file.string(),
                     recorded.rounds, recorded.of, recorded.run_id));
  }
  return text + '\n';
}

Json LogVerificationToJson(const LogVerification& verification, const std::string& log) {
  const LogCheckpoint& checkpoint = verification.checkpoint;
  Json json = {{"file", log},
               {"federation", checkpoint.federation},
               {"coordinator", verification.coordinator},
               {"log_id", PrintableText(verification.log_id)},
               {"entries", checkpoint.head.size},
               {"root", checkpoint.head.root.ToString()},
               {"first", TimeToJson(verification.first)},
               {"last", TimeToJson(verification.last)},
               {"set_back", verification.set_back},
               {"most_set_back_ms", absl::ToInt64Milliseconds(verification.most_set_back)},
               {"unknown_events", verification.unknown},
               {"runs", verification.runs},
               {"rounds", verification.rounds},
               {"burnt", verification.burnt}};
  json["checkpoints"] = Json::array();
  for (const LogVerification::Kept& kept : verification.checkpoints) {
    json["checkpoints"].push_back({{"file", kept.file.string()}, {"entries", kept.entries}});
  }
  json["records"] = Json::array();
  for (const LogVerification::Recorded& recorded : verification.records) {
    json["records"].push_back({{"file", recorded.file.string()},
                               {"run_id", recorded.run_id},
                               {"rounds", recorded.rounds},
                               {"rounds_done", recorded.of}});
  }
  return json;
}

std::string LogEntryText(std::string_view entry) {
  const absl::StatusOr<LogEntry> parsed = ParseLogEntry(entry);
  if (!parsed.ok()) return fmt::format("{:<24}  {}", "(unknown)", PrintableText(entry));
  return fmt::format("{}  {}", TimeText(parsed->at), PrintableText(Describe(parsed->event)));
}

std::string LogEntryJson(std::string_view entry) {
  const std::string printable = PrintableText(entry);
  if (printable == entry) return printable;
  const absl::StatusOr<nlohmann::json> json = ParseJson(entry, "entry");
  return json.ok() ? json->dump(-1, ' ', /*ensure_ascii=*/true) : Json(printable).dump();
}

}  // namespace fedtune
