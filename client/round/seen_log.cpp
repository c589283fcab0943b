// SPDX-License-Identifier: Apache-2.0

#include "client/round/seen_log.h"

#include <system_error>
#include <utility>

#include "base/fail_point.h"
#include "base/files.h"
#include "base/json.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/audit/checkpoint_json.h"

namespace fedtune {
namespace {

constexpr char kKeptAt[] = "kept_at";

std::string TextOf(const SignedCheckpoint& checkpoint, absl::Time now) {
  nlohmann::ordered_json json = CheckpointToJson(checkpoint);
  json[kKeptAt] = absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", now, absl::UTCTimeZone());
  return JsonLine(json);
}

absl::StatusOr<absl::Time> TimeIn(const nlohmann::json& json) {
  absl::Time time;
  const auto found = json.find(kKeptAt);
  if (found != json.end() && found->is_string() &&
      absl::ParseTime(absl::RFC3339_full, found->get<std::string>(), &time, nullptr)) {
    return time;
  }
  return absl::InvalidArgumentError(fmt::format("it has no \"{}\"", kKeptAt));
}

bool IsThere(const std::filesystem::path& file) {
  std::error_code ignored;
  return std::filesystem::exists(file, ignored);
}

std::string Stamp(absl::Time now) {
  return absl::FormatTime("%Y%m%dT%H%M%E3SZ", now, absl::UTCTimeZone());
}

}  // namespace

SeenLog::SeenLog(std::filesystem::path folder, std::filesystem::path authority)
    : folder_(std::move(folder)), authority_(std::move(authority)) {}

std::filesystem::path SeenLog::believed_file() const { return folder_ / "log_checkpoint.json"; }

std::filesystem::path SeenLog::refused_file() const {
  return folder_ / "log_checkpoint.refused.json";
}

std::filesystem::path SeenLog::first_refused_file() const {
  return folder_ / "log_checkpoint.refused-first.json";
}

absl::StatusOr<std::string> SeenLog::Authority() const { return ReadFile(authority_); }

absl::StatusOr<std::optional<KeptCheckpoint>> SeenLog::Believed() const {
  return Load(believed_file());
}

absl::StatusOr<std::optional<KeptCheckpoint>> SeenLog::Refused() const {
  return Load(refused_file());
}

absl::StatusOr<std::optional<KeptCheckpoint>> SeenLog::Load(
    const std::filesystem::path& file) const {
  const absl::StatusOr<std::string> text = ReadFile(file);
  if (absl::IsNotFound(text.status())) return std::nullopt;
  RETURN_IF_ERROR(text.status());
  ASSIGN_OR_RETURN(KeptCheckpoint kept, Verified(file, *text));
  return kept;
}

absl::StatusOr<KeptCheckpoint> SeenLog::Verified(const std::filesystem::path& file,
                                                 const std::string& text) const {
  ASSIGN_OR_RETURN(const std::string authority, Authority());
  const auto read = [&]() -> absl::StatusOr<KeptCheckpoint> {
    ASSIGN_OR_RETURN(const nlohmann::json json, ParseJson(text, "the file"));
    KeptCheckpoint kept;
    ASSIGN_OR_RETURN(kept.proof, CheckpointFromJson(json, "the file"));
    ASSIGN_OR_RETURN(kept.kept_at, TimeIn(json));
    ASSIGN_OR_RETURN(kept.checkpoint, VerifyCheckpoint(kept.proof, authority));
    return kept;
  };
  absl::StatusOr<KeptCheckpoint> kept = read();
  if (kept.ok()) return kept;
  return absl::DataLossError(fmt::format("{} is damaged, or of another federation's authority: {}",
                                         file.string(), Message(kept.status())));
}

absl::Status SeenLog::Believe(const SignedCheckpoint& checkpoint, absl::Time now) {
  RETURN_IF_ERROR(CheckFailPoint(FailPoint::kSeenLogBefore));
  RETURN_IF_ERROR(WriteFileAtomically(believed_file(), TextOf(checkpoint, now)));
  ReachFailPoint(FailPoint::kSeenLogAfter);
  return SetRefusedAside(now);
}

// It is of another log, which nobody is to accept by mistake.
absl::Status SeenLog::SetRefusedAside(absl::Time now) {
  if (IsThere(first_refused_file())) {
    RETURN_IF_ERROR(RenameDurably(
        first_refused_file(),
        folder_ / fmt::format("log_checkpoint.refused-first-until-{}.json", Stamp(now))));
  }
  if (!IsThere(refused_file())) return absl::OkStatus();
  return RenameDurably(refused_file(),
                       folder_ / fmt::format("log_checkpoint.refused-until-{}.json", Stamp(now)));
}

// Of what is refused again and again the first and the last one stay: a coordinator cannot have
// the one evidence removed by showing something else.
absl::Status SeenLog::Refuse(const SignedCheckpoint& checkpoint, absl::Time now) {
  if (IsThere(refused_file()) && !IsThere(first_refused_file())) {
    RETURN_IF_ERROR(RenameDurably(refused_file(), first_refused_file()));
  }
  return WriteFileAtomically(refused_file(), TextOf(checkpoint, now));
}

absl::StatusOr<FileLock> SeenLog::Lock() const {
  return FileLock::Wait(folder_ / "log_checkpoint.lock");
}

absl::StatusOr<KeptCheckpoint> SeenLog::Chosen(const Choice& choice) const {
  ASSIGN_OR_RETURN(std::optional<KeptCheckpoint> refused, Refused());
  if (!refused.has_value()) {
    return absl::FailedPreconditionError("there is no log to accept: the client has refused none");
  }
  if (choice.file.has_value()) {
    ASSIGN_OR_RETURN(std::optional<KeptCheckpoint> given, Load(*choice.file));
    if (given.has_value()) return *std::move(given);
    return absl::NotFoundError(fmt::format("there is no file {}", choice.file->string()));
  }
  if (!choice.root.has_value() || refused->checkpoint.head.root == *choice.root) {
    return *std::move(refused);
  }
  ASSIGN_OR_RETURN(std::optional<KeptCheckpoint> first, Load(first_refused_file()));
  if (first.has_value() && first->checkpoint.head.root == *choice.root) return *std::move(first);
  return absl::FailedPreconditionError(fmt::format(
      "no log with the root {} is refused; the newest has {} entries and the root {}. If it has "
      "grown since you looked, give --root that one, or --checkpoint the file that you have seen",
      choice.root->ToString(), refused->checkpoint.head.size,
      refused->checkpoint.head.root.ToString()));
}

absl::StatusOr<SeenLog::Accepted> SeenLog::Accept(absl::Time now, const Choice& choice) {
  ASSIGN_OR_RETURN(KeptCheckpoint chosen, Chosen(choice));
  Accepted accepted{
      .before = Believed(), .before_file = {}, .now = std::move(chosen), .file = believed_file()};
  if (IsThere(believed_file())) {
    accepted.before_file = folder_ / fmt::format("log_checkpoint.until-{}.json", Stamp(now));
    RETURN_IF_ERROR(CopyFileDurably(believed_file(), accepted.before_file));
  }
  accepted.now.kept_at = now;
  RETURN_IF_ERROR(WriteFileAtomically(believed_file(), TextOf(accepted.now.proof, now)));
  RETURN_IF_ERROR(SetRefusedAside(now));
  return accepted;
}

}  // namespace fedtune
