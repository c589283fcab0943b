// SPDX-License-Identifier: Apache-2.0

#include "cli/verification.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "aggregation/adapter_bytes.h"
#include "base/clock.h"
#include "base/exit_code.h"
#include "base/files.h"
#include "base/progress.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "model/checkpoint/merge_check.h"
#include "model/checkpoint/peft_adapter.h"
#include "model/checkpoint/unstacked_values.h"
#include "plan/base_model_digest.h"

namespace fedtune {
namespace {

namespace fs = std::filesystem;

// It is not what it should be.
absl::Status Refused(const std::string& why) {
  return WithExitCode(absl::AbortedError(why), ExitCode::kRefused);
}

// What the folder holds cannot be read or used, whatever it is.
absl::Status Unusable(const absl::Status& why, const fs::path& folder) {
  if (absl::IsNotFound(why) || absl::IsPermissionDenied(why)) return OfNamedFile(why);
  return WithExitCode(Annotate(why, folder.string()), ExitCode::kFailed);
}

bool IsThere(const fs::path& path) {
  std::error_code unreadable_is_not_there;
  return fs::exists(path, unreadable_is_not_there);
}

// "a; b; c" of at most a handful.
std::string Some(std::vector<std::string> sentences) {
  constexpr size_t kMost = 5;
  const size_t all = sentences.size();
  if (all > kMost) sentences.resize(kMost);
  return fmt::format("{}{}", fmt::join(sentences, "; "),
                     all > kMost ? fmt::format("; and {} more", all - kMost) : "");
}

absl::StatusOr<RecordedRun> ReadRecord(const fs::path& file) {
  ASSIGN_OR_RETURN(const std::string text, ReadNamedFile(file));
  ASSIGN_OR_RETURN(RecordedRun run, ParseRecordedRun(text, file.string()));
  const std::vector<std::string> wrong = Contradictions(run);
  if (wrong.empty()) return run;
  return Refused(fmt::format("{} contradicts itself: {}", file.string(), Some(wrong)));
}

absl::StatusOr<std::vector<ComparedLog>> CompareLogs(const RecordedRun& run,
                                                     const std::vector<fs::path>& files) {
  std::vector<ComparedLog> compared;
  for (const fs::path& file : files) {
    ASSIGN_OR_RETURN(const std::string text, ReadNamedFile(file));
    const LogComparison comparison = CompareWithLog(run, RoundsInLog(text, run.run_id));
    if (!comparison.contradictions.empty()) {
      return Refused(fmt::format("{} contradicts the record of {}: {}", file.string(), run.run_id,
                                 Some(comparison.contradictions)));
    }
    compared.push_back({.file = file, .rounds = comparison.compared});
  }
  return compared;
}

absl::StatusOr<std::optional<LogVerification>> CompareAuditLog(const VerificationFiles& files) {
  if (files.audit_log.empty()) return std::nullopt;
  const SystemClock clock;
  ProgressLine progress(fmt::format("reading {}", files.audit_log.string()), clock);
  ASSIGN_OR_RETURN(LogVerification verification,
                   VerifyLog({.log = files.audit_log, .checkpoints = {}, .records = {files.record}},
                             files.authority_pem, [&](double share) { progress.Update(share); }));
  return verification;
}

absl::StatusOr<int64_t> ChosenRound(const RecordedRun& run, std::optional<int64_t> round) {
  const int64_t chosen = round.value_or(run.rounds_done);
  if (chosen > run.rounds_done || (round.has_value() && chosen < 1)) {
    return absl::InvalidArgumentError(fmt::format("--round {}: the record of {} has rounds 1 to {}",
                                                  chosen, run.run_id, run.rounds_done));
  }
  if (MakerOf(run, chosen) > 0) return chosen;
  return Refused(fmt::format("{} had released nothing by then: no round had counted", run.run_id));
}

// The run's layout, which lies beside an adapter that was pulled; without it, as the file has
// its modules.
absl::StatusOr<AdapterLayout> LayoutOf(const fs::path& folder, const PeftAdapter& stored,
                                       const RecordedRun& run) {
  const absl::StatusOr<std::string> beside = ReadFile(folder / kAdapterLayoutFile);
  if (absl::IsNotFound(beside.status())) {
    if (Sha256Of(stored.layout.ToJson()) == run.layout_digest) return stored.layout;
    return Refused(fmt::format(
        "{} has other layers, ranks or scales than {}, or its factors in another order: without "
        "{}, which \"fedtune model pull\" writes, nobody can tell",
        folder.string(), run.run_id, kAdapterLayoutFile));
  }
  RETURN_IF_ERROR(beside.status());
  if (Sha256Of(*beside) != run.layout_digest) {
    return Refused(fmt::format("{} is not of {}: its {} has the digest {}, and the record {}",
                               folder.string(), run.run_id, kAdapterLayoutFile,
                               Sha256Of(*beside).ToString(), run.layout_digest.ToString()));
  }
  absl::StatusOr<AdapterLayout> layout = AdapterLayout::FromJson(*beside);
  if (!layout.ok()) return Unusable(layout.status(), folder);
  return layout;
}

struct ReadAdapter {
  AdapterLayout layout;
  std::vector<float> values;
};

absl::StatusOr<ReadAdapter> ReadAdapterOf(const RecordedRun& run, const fs::path& folder) {
  const absl::StatusOr<PeftAdapter> stored = ReadPeftAdapter(folder);
  if (!stored.ok()) return Unusable(stored.status(), folder);
  ReadAdapter adapter;
  ASSIGN_OR_RETURN(adapter.layout, LayoutOf(folder, *stored, run));
  absl::StatusOr<std::vector<float>> values = UnstackedValues(*stored, adapter.layout);
  if (absl::IsInvalidArgument(values.status())) {
    return Refused(
        fmt::format("{} is not of {}: {}", folder.string(), run.run_id, Message(values.status())));
  }
  if (!values.ok()) return Unusable(values.status(), folder);
  adapter.values = *std::move(values);
  return adapter;
}

// What else the adapter is.
absl::Status NotThatOf(const RecordedRun& run, int64_t round, const Digest& found,
                       const fs::path& folder) {
  const Digest& expected = run.rounds[static_cast<size_t>(round) - 1].adapter;
  const auto other = std::ranges::find(run.rounds, found, &RecordedRound::adapter);
  if (other != run.rounds.end()) {
    return Refused(
        fmt::format("{} is the adapter of {} after round {}, and not after round {}; "
                    "--round {} compares it with that one",
                    folder.string(), run.run_id, other->number, round, other->number));
  }
  return Refused(
      fmt::format("{} is not what {} released: its values have the digest {}, and the "
                  "record has {} after round {}",
                  folder.string(), run.run_id, found.ToString(), expected.ToString(), round));
}

absl::Status CheckBase(const RecordedRun& run, const fs::path& base) {
  const SystemClock clock;
  ProgressLine progress(fmt::format("reading {}", base.filename().string()), clock);
  const auto digests = DigestBaseModel(base, [&](double share) { progress.Update(share); });
  if (!digests.ok()) return Unusable(digests.status(), base);
  if (digests->Have(run.base_digest)) return absl::OkStatus();
  return Refused(
      fmt::format("{} is not the base model of {}: it has the digest {}, and the record "
                  "{}",
                  base.string(), run.run_id, digests->digest, run.base_digest));
}

absl::Status CheckMergedModel(const VerificationFiles& files, const RecordedRun& run,
                              const ReadAdapter& adapter) {
  RETURN_IF_ERROR(CheckBase(run, files.base));
  const SystemClock clock;
  ProgressLine progress(fmt::format("comparing {}", files.folder.string()), clock);
  const absl::Status same = CheckMerged(files.base, adapter.layout, adapter.values, files.folder,
                                        [&](double share) { progress.Update(share); });
  if (!absl::IsAborted(same)) return same.ok() ? same : Unusable(same, files.folder);
  return Refused(fmt::format("{} differs: {}", files.folder.string(), Message(same)));
}

absl::StatusOr<bool> IsMergedModel(const VerificationFiles& files) {
  if (!IsThere(files.folder)) {
    return absl::InvalidArgumentError(fmt::format("there is no folder {}", files.folder.string()));
  }
  const bool is_merged =
      !IsThere(files.folder / "adapter_config.json") && IsThere(files.folder / "config.json");
  if (is_merged && (files.adapter.empty() || files.base.empty())) {
    return absl::InvalidArgumentError(fmt::format(
        "{} is a whole model; name the adapter that was merged into it (--adapter, as \"fedtune "
        "model pull\" writes it) and its base model (--base)",
        files.folder.string()));
  }
  if (is_merged || (files.adapter.empty() && files.base.empty())) return is_merged;
  return absl::InvalidArgumentError(fmt::format(
      "--adapter and --base are for a merged model, and {} is none", files.folder.string()));
}

}  // namespace

absl::StatusOr<Verification> Verify(const VerificationFiles& files, std::optional<int64_t> round) {
  Verification verification;
  ASSIGN_OR_RETURN(verification.is_merged, IsMergedModel(files));
  ASSIGN_OR_RETURN(verification.run, ReadRecord(files.record));
  const RecordedRun& run = verification.run;
  ASSIGN_OR_RETURN(verification.logs, CompareLogs(run, files.logs));
  ASSIGN_OR_RETURN(verification.audit_log, CompareAuditLog(files));
  ASSIGN_OR_RETURN(verification.round, ChosenRound(run, round));
  verification.made_by = MakerOf(run, verification.round);
  const fs::path& folder = verification.is_merged ? files.adapter : files.folder;
  ASSIGN_OR_RETURN(const ReadAdapter adapter, ReadAdapterOf(run, folder));
  verification.adapter = Sha256Of(ValueBytes(adapter.values));
  if (verification.adapter != run.rounds[static_cast<size_t>(verification.round) - 1].adapter) {
    return NotThatOf(run, verification.round, verification.adapter, folder);
  }
  if (verification.is_merged) RETURN_IF_ERROR(CheckMergedModel(files, run, adapter));
  return verification;
}

std::string VerificationText(const Verification& verification, const std::string& folder) {
  const RecordedRun& run = verification.run;
  std::string text = fmt::format(
      "{} is {} {} after round {}{}{}\n\n", folder,
      verification.is_merged ? fmt::format("{} with the adapter of", run.base_model)
                             : "the adapter of",
      run.run_id, verification.round,
      verification.round == run.rounds_done ? ", its last" : fmt::format(" of {}", run.rounds_done),
      verification.made_by == verification.round
          ? ""
          : fmt::format("; round {} has made it, as those since burnt", verification.made_by));
  text +=
      fmt::format("  adapter   {}, hashed anew from its values\n", verification.adapter.ToString());
  text += fmt::format("  layout    {}\n", run.layout_digest.ToString());
  text += fmt::format("  record    {} round{}, without a contradiction\n", run.rounds_done,
                      run.rounds_done == 1 ? "" : "s");
  for (const ComparedLog& log : verification.logs) {
    text += fmt::format("  log       {}: {}\n", log.file.string(),
                        log.rounds == 0 ? "no round to compare"
                                        : fmt::format("{} round{} began with the same adapters",
                                                      log.rounds, log.rounds == 1 ? "" : "s"));
  }
  if (verification.audit_log.has_value()) {
    text += fmt::format(
        "  audit log {} of {} rounds are in it, and agree; coordinator {} has signed it\n",
        verification.audit_log->records[0].rounds, run.rounds_done,
        verification.audit_log->coordinator);
  }
  return text;
}

nlohmann::ordered_json VerificationToJson(const Verification& verification,
                                          const std::string& folder) {
  const RecordedRun& run = verification.run;
  nlohmann::ordered_json json = {{"folder", folder},
                                 {"kind", verification.is_merged ? "merged" : "adapter"},
                                 {"run_id", run.run_id},
                                 {"round", verification.round},
                                 {"made_by_round", verification.made_by},
                                 {"rounds_done", run.rounds_done},
                                 {"adapter", verification.adapter.ToString()},
                                 {"layout_digest", run.layout_digest.ToString()}};
  json["logs"] = nlohmann::ordered_json::array();
  for (const ComparedLog& log : verification.logs) {
    json["logs"].push_back({{"file", log.file.string()}, {"rounds", log.rounds}});
  }
  if (verification.audit_log.has_value()) {
    json["audit_log"] = {{"entries", verification.audit_log->checkpoint.head.size},
                         {"root", verification.audit_log->checkpoint.head.root.ToString()},
                         {"rounds", verification.audit_log->records[0].rounds}};
  }
  return json;
}

}  // namespace fedtune
