// SPDX-License-Identifier: Apache-2.0

#include "client/commands/log.h"

#include <cstdio>
#include <optional>

#include "base/json.h"
#include "base/printable_text.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "client/commands/site.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

nlohmann::ordered_json JsonOf(const KeptCheckpoint& kept, const std::filesystem::path& file) {
  return {{"federation", kept.checkpoint.federation},
          {"entries", kept.checkpoint.head.size},
          {"root", kept.checkpoint.head.root.ToString()},
          {"kept_at", TimeText(kept.kept_at)},
          {"file", file.string()}};
}

nlohmann::ordered_json JsonOf(const std::optional<KeptCheckpoint>& kept,
                              const std::filesystem::path& file) {
  return kept.has_value() ? JsonOf(*kept, file) : nlohmann::ordered_json();
}

std::string LinesOf(std::string_view title, const KeptCheckpoint& kept,
                    const std::filesystem::path& file) {
  const LogCheckpoint& checkpoint = kept.checkpoint;
  return fmt::format(
      "{}\n"
      "  federation   {}\n"
      "  entries      {}\n"
      "  root         {}\n"
      "  kept         {}\n"
      "  file         {}\n",
      title, checkpoint.federation, GroupDigits(checkpoint.head.size),
      checkpoint.head.root.ToString(), TimeText(kept.kept_at), PrintableText(file.string()));
}

absl::StatusOr<SeenLog::Choice> ChoiceOf(const LogOptions& options) {
  SeenLog::Choice choice;
  if (!options.checkpoint.empty()) choice.file = options.checkpoint;
  if (options.root.empty()) return choice;
  ASSIGN_OR_RETURN(choice.root, Digest::Parse(options.root));
  return choice;
}

// Locked only now: a terminal that stands still is not to keep the client waiting.
absl::StatusOr<SeenLog::Accepted> AcceptShown(const KeptCheckpoint& shown, SeenLog::Choice choice,
                                              const Clock& clock, SeenLog& log) {
  if (!choice.file.has_value()) choice.root = shown.checkpoint.head.root;
  ASSIGN_OR_RETURN(const FileLock lock, log.Lock());
  return log.Accept(clock.Now(), choice);
}

}  // namespace

absl::Status ShowLog(const LogOptions& options) {
  ASSIGN_OR_RETURN(const ClientConfig config, options.source.Load());
  ASSIGN_OR_RETURN(const std::string text, PresentSeenLog(SeenLogOf(config), options.json));
  fmt::print("{}", text);
  return absl::OkStatus();
}

absl::Status AcceptLog(const LogOptions& options, const Clock& clock) {
  ASSIGN_OR_RETURN(const ClientConfig config, options.source.Load());
  ASSIGN_OR_RETURN(const SeenLog::Choice choice, ChoiceOf(options));
  SeenLog log = SeenLogOf(config);
  ASSIGN_OR_RETURN(const KeptCheckpoint chosen, log.Chosen(choice));
  if (!options.json) {
    fmt::print("{}", PresentChosen(chosen));
    std::fflush(stdout);
  }
  ASSIGN_OR_RETURN(const SeenLog::Accepted accepted, AcceptShown(chosen, choice, clock, log));
  fmt::print("{}", PresentAccepted(accepted, options.json));
  return absl::OkStatus();
}

absl::StatusOr<std::string> PresentSeenLog(const SeenLog& log, bool json) {
  ASSIGN_OR_RETURN(const std::optional<KeptCheckpoint> seen, log.Believed());
  ASSIGN_OR_RETURN(const std::optional<KeptCheckpoint> refused, log.Refused());
  if (json) {
    return JsonLine({{"seen", JsonOf(seen, log.believed_file())},
                     {"refused", JsonOf(refused, log.refused_file())}});
  }
  std::string text = seen.has_value()
                         ? LinesOf("The coordinator's log as last seen", *seen, log.believed_file())
                         : "The coordinator has shown no log yet.\n";
  if (!refused.has_value()) return text;
  text += LinesOf("Refused, as it does not go on from there", *refused, log.refused_file());
  return text +
         "Ask the coordinator's operator why. If there is a good reason, as a restore from a "
         "backup:\n  fedtune-client log accept --root " +
         refused->checkpoint.head.root.ToString() + "\n";
}

std::string PresentChosen(const KeptCheckpoint& chosen) {
  const LogHead& head = chosen.checkpoint.head;
  return fmt::format("To be accepted: {} entries with the root {}, shown at {}\n",
                     GroupDigits(head.size), head.root.ToString(), TimeText(chosen.kept_at));
}

std::string PresentAccepted(const SeenLog::Accepted& accepted, bool json) {
  const auto& before = accepted.before;
  const bool is_known = before.ok() && before->has_value();
  if (json) {
    return JsonLine({{"before", JsonOf(before.value_or(std::nullopt), accepted.before_file)},
                     {"accepted", JsonOf(accepted.now, accepted.file)}});
  }
  std::string text;
  if (is_known) text = LinesOf("Seen before, and kept as evidence", **before, accepted.before_file);
  if (!before.ok()) {
    text = fmt::format("What was seen before is damaged; it is kept as\n  {}\n",
                       PrintableText(accepted.before_file.string()));
  }
  return text + LinesOf("Accepted: from now on the log may only grow from here", accepted.now,
                        accepted.file);
}

}  // namespace fedtune
