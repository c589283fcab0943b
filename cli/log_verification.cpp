// SPDX-License-Identifier: Apache-2.0

#include "cli/log_verification.h"

#include <algorithm>
#include <utility>

#include "base/exit_code.h"
#include "base/files.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "cli/log_file.h"
#include "cli/log_order.h"
#include "cli/record_in_log.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "privacy/audit/log_entry.h"
#include "privacy/audit/log_hasher.h"
#include "privacy/identity/certificate.h"

namespace fedtune {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kToldEvery = 4096;

// It is not what it should be.
absl::Status Refused(const std::string& why) {
  return WithExitCode(absl::AbortedError(why), ExitCode::kRefused);
}

// All that is wrong, of which so much is told.
class Findings {
 public:
  void Add(std::string what) {
    if (++count_ <= kMost) told_.push_back(std::move(what));
  }

  bool empty() const { return count_ == 0; }

  std::string ToString() const {
    return fmt::format("{}{}", fmt::join(told_, "\n"),
                       count_ > kMost ? fmt::format("\nand {} more", count_ - kMost) : "");
  }

 private:
  static constexpr uint64_t kMost = 20;

  uint64_t count_ = 0;
  std::vector<std::string> told_;
};

// What one institution has seen of the log.
struct Seen {
  size_t place = 0;  // Among the files given.
  LogHead head;
};

struct Record {
  fs::path file;
  RecordInLog in_log;
};

absl::StatusOr<LogCheckpoint> Verified(const SignedCheckpoint& checkpoint, const fs::path& file,
                                       std::string_view authority_pem) {
  absl::StatusOr<LogCheckpoint> verified = VerifyCheckpoint(checkpoint, authority_pem);
  if (verified.ok()) return verified;
  return WithExitCode(Annotate(verified.status(), file.string()), ExitCode::kRefused);
}

absl::StatusOr<LogCheckpoint> ReadKept(const fs::path& file, std::string_view authority_pem) {
  ASSIGN_OR_RETURN(const std::string text, ReadNamedFile(file));
  ASSIGN_OR_RETURN(const SignedCheckpoint kept, ParseSignedCheckpoint(text, file.string()));
  return Verified(kept, file, authority_pem);
}

absl::StatusOr<Record> ReadRecord(const fs::path& file) {
  ASSIGN_OR_RETURN(const std::string text, ReadNamedFile(file));
  ASSIGN_OR_RETURN(RecordedRun run, ParseRecordedRun(text, file.string()));
  const std::vector<std::string> wrong = Contradictions(run);
  if (wrong.empty()) return Record{file, RecordInLog(std::move(run))};
  return Refused(fmt::format("{} contradicts itself: {}", file.string(), fmt::join(wrong, "; ")));
}

// Reads a log once, from its beginning to its end.
class LogVerifier {
 public:
  // Reads all that the log is compared with. Errors as VerifyLog().
  absl::Status Prepare(const LogFiles& files, std::string_view authority_pem,
                       const SignedCheckpoint& checkpoint);

  // The next entry, which `log` has just given.
  void Follow(std::string_view entry, const LogFileReader& log);

  // After the last one.
  absl::StatusOr<LogVerification> Finish() &&;

  uint64_t expected() const { return result_.checkpoint.head.size; }

 private:
  void FollowEvent(const LogEntry& entry, const LogFileReader& log);
  void FollowTime(absl::Time at);
  void CompareSeen();
  absl::Status CheckIsAsSigned() const;
  void CheckKept();
  void CheckRecords();

  fs::path log_;
  LogVerification result_;
  LogHasher hasher_;
  LogOrder order_;
  std::vector<Seen> seen_;  // By size, those that were not compared yet.
  size_t next_seen_ = 0;
  uint64_t agreed_ = 0;  // Entries at the beginning that are as an institution has seen them,
  size_t agreed_by_ = 0;
  std::vector<std::string> of_others_;  // Why what institutions have seen is not of this log.
  std::vector<Record> records_;
  Findings findings_;
  Findings older_;  // Runs of which the log says nothing.
};

absl::Status LogVerifier::Prepare(const LogFiles& files, std::string_view authority_pem,
                                  const SignedCheckpoint& checkpoint) {
  log_ = files.log;
  ASSIGN_OR_RETURN(result_.checkpoint, Verified(checkpoint, log_, authority_pem));
  ASSIGN_OR_RETURN(const Certificate signer, ParseCertificate(checkpoint.certificate_pem));
  result_.coordinator = signer.identity.name;
  for (const fs::path& file : files.checkpoints) {
    ASSIGN_OR_RETURN(const LogCheckpoint kept, ReadKept(file, authority_pem));
    seen_.push_back({.place = result_.checkpoints.size(), .head = kept.head});
    result_.checkpoints.push_back({.file = file, .entries = kept.head.size});
  }
  std::ranges::stable_sort(seen_, {}, [](const Seen& seen) { return seen.head.size; });
  for (const fs::path& file : files.records) {
    ASSIGN_OR_RETURN(Record record, ReadRecord(file));
    records_.push_back(std::move(record));
  }
  CompareSeen();
  return absl::OkStatus();
}

void LogVerifier::Follow(std::string_view entry, const LogFileReader& log) {
  hasher_.Add(entry);
  CompareSeen();
  const absl::StatusOr<LogEntry> parsed = ParseLogEntry(entry);
  if (parsed.ok()) return FollowEvent(*parsed, log);
  if (absl::IsUnimplemented(parsed.status())) {
    ++result_.unknown;
  } else {
    findings_.Add(fmt::format("{}: {}", log.place(), Message(parsed.status())));
  }
}

void LogVerifier::FollowEvent(const LogEntry& entry, const LogFileReader& log) {
  const std::optional<std::string> wrong = order_.Follow(entry.event);
  if (wrong.has_value()) {
    findings_.Add(fmt::format("{}: {}: {}", log.place(), Describe(entry.event), *wrong));
  }
  FollowTime(entry.at);
  for (Record& record : records_) record.in_log.Follow(entry);
  const auto* begun = std::get_if<LogBegun>(&entry.event);
  if (begun != nullptr && result_.log_id.empty()) result_.log_id = begun->id;
}

void LogVerifier::FollowTime(absl::Time at) {
  if (!result_.first.has_value()) result_.first = at;
  const absl::Duration back = result_.last.value_or(at) - at;
  if (back > absl::ZeroDuration()) ++result_.set_back;
  result_.most_set_back = std::max(result_.most_set_back, back);
  result_.last = at;
}

// Those who have seen as many entries as have come.
void LogVerifier::CompareSeen() {
  for (; next_seen_ < seen_.size() && seen_[next_seen_].head.size <= hasher_.size(); ++next_seen_) {
    const Seen& seen = seen_[next_seen_];
    const LogHead head = hasher_.head();
    if (seen.head == head || head.size == 0) {
      agreed_ = head.size;
      agreed_by_ = seen.place;
      continue;
    }
    of_others_.push_back(fmt::format(
        "{} is of another log: its {} entries have the root {}, and the first {} of {} the root "
        "{}; the coordinator has shown two logs, or an earlier one was put back",
        result_.checkpoints[seen.place].file.string(), seen.head.size, seen.head.root.ToString(),
        seen.head.size, log_.string(), head.root.ToString()));
  }
}

absl::Status LogVerifier::CheckIsAsSigned() const {
  const LogHead& expected = result_.checkpoint.head;
  const LogHead head = hasher_.head();
  if (head == expected) return absl::OkStatus();
  std::string why =
      head.size == expected.size
          ? fmt::format("its {} entries have the root {}, and not {}: some were changed", head.size,
                        head.root.ToString(), expected.root.ToString())
          : fmt::format("it has {} entries, and not {}", head.size, expected.size);
  if (agreed_ > 0) {
    why += fmt::format("; the first {} are as {} has them", agreed_,
                       result_.checkpoints[agreed_by_].file.string());
  }
  return Refused(fmt::format("{} is not the log that coordinator {} has signed: {}{}{}",
                             log_.string(), result_.coordinator, why, findings_.empty() ? "" : "\n",
                             findings_.ToString()));
}

void LogVerifier::CheckKept() {
  for (const std::string& why : of_others_) findings_.Add(why);
  for (; next_seen_ < seen_.size(); ++next_seen_) {
    const Seen& seen = seen_[next_seen_];
    findings_.Add(fmt::format(
        "{} has {} entries, and {} only {}: the log was rolled back, unless it was pulled before "
        "the checkpoint was kept; pull it again",
        result_.checkpoints[seen.place].file.string(), seen.head.size, log_.string(),
        hasher_.size()));
  }
}

void LogVerifier::CheckRecords() {
  for (const Record& record : records_) {
    for (const std::string& wrong : record.in_log.Contradictions()) {
      findings_.Add(fmt::format("{}: {}", record.file.string(), wrong));
    }
    if (record.in_log.IsOlderThanLog()) {
      older_.Add(
          fmt::format("{}: {} had ended before the log began: it says nothing of this run, for or "
                      "against the record",
                      record.file.string(), record.in_log.run().run_id));
    }
    result_.records.push_back({.file = record.file,
                               .run_id = record.in_log.run().run_id,
                               .rounds = record.in_log.compared(),
                               .of = record.in_log.run().rounds_done});
  }
}

absl::StatusOr<LogVerification> LogVerifier::Finish() && {
  RETURN_IF_ERROR(CheckIsAsSigned());
  CheckKept();
  CheckRecords();
  if (!findings_.empty()) return Refused(findings_.ToString());
  if (!older_.empty()) {
    return absl::FailedPreconditionError(
        fmt::format("{}\nall else is as it should be", older_.ToString()));
  }
  result_.runs = order_.runs();
  result_.rounds = order_.rounds_released();
  result_.burnt = order_.rounds_burnt();
  return std::move(result_);
}

}  // namespace

absl::StatusOr<LogVerification> VerifyLog(const LogFiles& files, std::string_view authority_pem,
                                          const std::function<void(double)>& progress) {
  RETURN_IF_ERROR(ParseAuthorityCertificate(authority_pem).status());
  ASSIGN_OR_RETURN(LogFileReader log, LogFileReader::Open(files.log));
  LogVerifier verifier;
  RETURN_IF_ERROR(verifier.Prepare(files, authority_pem, log.checkpoint()));
  for (uint64_t count = 0;; ++count) {
    const auto entry = log.Next();
    if (absl::IsDataLoss(entry.status())) {
      return WithExitCode(entry.status(), ExitCode::kRefused);
    }
    RETURN_IF_ERROR(entry.status());
    if (!entry->has_value()) break;
    verifier.Follow(**entry, log);
    if (count % kToldEvery != 0) continue;
    progress(static_cast<double>(count) / static_cast<double>(verifier.expected() + 1));
  }
  return std::move(verifier).Finish();
}

}  // namespace fedtune
