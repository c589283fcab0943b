// SPDX-License-Identifier: Apache-2.0

#include "cli/recorded_run.h"

#include "base/json.h"
#include "base/printable_text.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

using Json = nlohmann::json;

// Reads the keys of an object; the first that is not as it should be is remembered.
class RecordReader {
 public:
  RecordReader(const Json& object, std::string where) : object_(object), where_(std::move(where)) {}

  std::string Text(const char* key) {
    const Json* value = Find(key);
    if (value == nullptr) return "";
    if (value->is_string()) return PrintableText(value->get<std::string>());
    Fail(key, "is no text");
    return "";
  }

  int64_t Int64(const char* key) {
    const Json* value = Find(key);
    if (value == nullptr || value->is_number_integer()) {
      return value == nullptr ? 0 : value->get<int64_t>();
    }
    Fail(key, "is no whole number");
    return 0;
  }

  Digest Sha256(const char* key) {
    const Json* value = Find(key);
    if (value == nullptr) return {};
    const auto digest = value->is_string() ? Digest::Parse(value->get<std::string>())
                                           : absl::StatusOr<Digest>(absl::InvalidArgumentError(""));
    if (digest.ok()) return *digest;
    Fail(key, "is no digest");
    return {};
  }

  std::optional<absl::Time> Time(const char* key) {
    const Json* value = Find(key);
    if (value == nullptr || value->is_null()) return std::nullopt;
    absl::Time time;
    std::string why;
    if (value->is_string() &&
        absl::ParseTime(absl::RFC3339_full, value->get<std::string>(), &time, &why)) {
      return time;
    }
    Fail(key, "is no time");
    return std::nullopt;
  }

  // Null: it is missing.
  const Json* Find(const char* key) {
    const auto found = object_.find(key);
    if (found != object_.end()) return &*found;
    Fail(key, "is missing");
    return nullptr;
  }

  const absl::Status& status() const { return status_; }

 private:
  void Fail(const char* key, std::string_view what) {
    if (!status_.ok()) return;
    status_ = absl::InvalidArgumentError(fmt::format("{}\"{}\" {}", where_, key, what));
  }

  const Json& object_;
  const std::string where_;
  absl::Status status_;
};

absl::StatusOr<RecordedRound> ParseRound(const Json& json, size_t index) {
  const std::string where = fmt::format("rounds[{}]: ", index);
  if (!json.is_object()) return absl::InvalidArgumentError(where + "is no object");
  RecordReader read(json, where);
  RecordedRound round{
      .number = read.Int64("round"), .adapter = read.Sha256("adapter"), .burnt = ""};
  if (json.contains("burnt")) round.burnt = read.Text("burnt");
  if (json.contains("attempts")) round.attempts = read.Int64("attempts");
  if (json.contains("contributions")) round.contributions = read.Int64("contributions");
  RETURN_IF_ERROR(read.status());
  return round;
}

absl::StatusOr<RecordedRun> ParseRun(const Json& json) {
  if (!json.is_object() || !json.contains("run_id")) {
    return absl::InvalidArgumentError(
        "is not what \"fedtune run show RUN --json\" prints: an object with a run_id");
  }
  if (!json.contains("layout_digest")) {
    return absl::InvalidArgumentError(
        "has no layout_digest, without which nobody can tell in which order an adapter's values "
        "were hashed: \"fedtune run show RUN --json\" of an earlier version has printed it, or "
        "it is of another command; let this version print it");
  }
  RecordReader read(json, "");
  RecordedRun run{.run_id = read.Text("run_id"),
                  .base_model = read.Text("base_model"),
                  .base_digest = read.Text("base_digest"),
                  .rounds_done = read.Int64("rounds_done"),
                  .adapter = read.Sha256("adapter"),
                  .layout_digest = read.Sha256("layout_digest"),
                  .rounds = {}};
  if (json.contains("ended")) run.ended = read.Time("ended");
  const Json* rounds = read.Find("rounds");
  RETURN_IF_ERROR(read.status());
  if (!rounds->is_array()) return absl::InvalidArgumentError("\"rounds\" is no list");
  const auto plan = json.find("plan_toml");
  if (plan != json.end() && plan->is_string()) run.plan = Sha256Of(plan->get<std::string>());
  for (const Json& round : *rounds) {
    ASSIGN_OR_RETURN(RecordedRound parsed, ParseRound(round, run.rounds.size()));
    run.rounds.push_back(std::move(parsed));
  }
  return run;
}

}  // namespace

absl::StatusOr<RecordedRun> ParseRecordedRun(std::string_view text, std::string_view source) {
  ASSIGN_OR_RETURN(const Json json, ParseJson(text, source));
  absl::StatusOr<RecordedRun> run = ParseRun(json);
  if (!run.ok()) return Annotate(run.status(), source);
  return run;
}

std::vector<std::string> Contradictions(const RecordedRun& run) {
  std::vector<std::string> found;
  if (run.rounds_done != std::ssize(run.rounds)) {
    found.push_back(fmt::format("rounds_done is {}, and there are {} rounds", run.rounds_done,
                                run.rounds.size()));
  }
  for (size_t i = 0; i < run.rounds.size(); ++i) {
    const RecordedRound& round = run.rounds[i];
    if (round.number != static_cast<int64_t>(i) + 1) {
      found.push_back(fmt::format("where round {} should be is round {}", i + 1, round.number));
    } else if (i > 0 && !round.burnt.empty() && round.adapter != run.rounds[i - 1].adapter) {
      found.push_back(fmt::format("round {} burnt, and has another adapter than the round before",
                                  round.number));
    }
  }
  if (!run.rounds.empty() && run.rounds.back().adapter != run.adapter) {
    found.push_back(
        fmt::format("the newest adapter is not that of round {}, the last", run.rounds.size()));
  }
  return found;
}

int64_t MakerOf(const RecordedRun& run, int64_t round) {
  while (round > 0 && !run.rounds[static_cast<size_t>(round) - 1].burnt.empty()) --round;
  return round;
}

}  // namespace fedtune
