// SPDX-License-Identifier: Apache-2.0

#include "cli/log_pull.h"

#include <optional>
#include <system_error>
#include <utility>

#include "base/exit_code.h"
#include "base/file_writer.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "cli/asked_again.h"
#include "cli/log_file.h"
#include "cli/persistence.h"
#include "fmt/format.h"
#include "privacy/audit/log_entry.h"
#include "privacy/audit/log_hasher.h"
#include "privacy/crypto/canonical_bytes.h"
#include "rpc/channel.h"

namespace fedtune {
namespace {

namespace fs = std::filesystem;

constexpr size_t kWrittenAtOnce = 1 << 20;

// It is not what it should be.
absl::Status Refused(const std::string& why) {
  return WithExitCode(absl::AbortedError(why), ExitCode::kRefused);
}

absl::Status NotAsSigned() {
  return Refused("what the coordinator sends is not the log that it has signed");
}

absl::Status Interrupted() {
  return absl::CancelledError("interrupted: nothing has changed; run the command again");
}

absl::StatusOr<LogCheckpoint> Verified(const SignedCheckpoint& checkpoint, const LogPull& pull,
                                       std::string_view of) {
  absl::StatusOr<LogCheckpoint> verified = VerifyCheckpoint(checkpoint, pull.authority_pem);
  if (verified.ok()) return verified;
  return WithExitCode(Annotate(verified.status(), of), ExitCode::kRefused);
}

// A file that grows by lines, many at a time.
class LineWriter {
 public:
  explicit LineWriter(FileWriter file) : file_(std::move(file)) {}

  absl::Status Add(std::string_view line) {
    waiting_.append(line).push_back('\n');
    return waiting_.size() < kWrittenAtOnce ? absl::OkStatus() : Flush();
  }

  absl::Status Commit() && {
    RETURN_IF_ERROR(Flush());
    return std::move(file_).Commit();
  }

 private:
  absl::Status Flush() {
    RETURN_IF_ERROR(file_.Write(SpanOf(waiting_)));
    waiting_.clear();
    return absl::OkStatus();
  }

  FileWriter file_;
  std::string waiting_;
};

// Takes a log from an entry on, up to the checkpoint that comes first, whatever may have
// been added meanwhile.
class Receiver {
 public:
  using Taken = std::function<absl::Status(std::string_view entry)>;
  using Begun = std::function<absl::Status(const SignedCheckpoint& checkpoint)>;

  // `before` has hashed the entries that are there. `begin` is called with the checkpoint,
  // and `take` with each entry.
  Receiver(const LogPull& pull, LogHasher before, Begun begin, Taken take)
      : pull_(pull), hasher_(std::move(before)), begin_(std::move(begin)), take_(std::move(take)) {}

  // Until all is there. Errors as of PullLog(); OUT_OF_RANGE: the log has fewer entries than
  // were there before.
  absl::Status Receive() {
    Persistence persistence(pull_.clock);
    bool was_heard = false;
    while (true) {
      const uint64_t before = hasher_.size();
      const absl::Status read =
          pull_.read(before, [this](const v1::LogPart& part) { return TakePart(part); });
      if (pull_.stop.stop_requested()) return Interrupted();
      if (checkpoint_.has_value() && hasher_.size() == checkpoint_->head.size) break;
      was_heard =
          was_heard || checkpoint_.has_value() || BrokeOff(read) || absl::IsDeadlineExceeded(read);
      if (read.ok()) return Refused("the coordinator's answer ends before its log does");
      const bool goes_on = persistence.GoesOn(read, hasher_.size() > before);
      if (!was_heard || !goes_on) return Explained(read);
      pull_.wait(kTriedEvery);
    }
    return absl::OkStatus();
  }

  // After Receive(): whether the entries are those that were signed.
  bool IsAsSigned() const { return hasher_.head() == checkpoint_->head; }

  const LogCheckpoint& checkpoint() const { return *checkpoint_; }

 private:
  absl::Status Explained(const absl::Status& read) const {
    if (absl::IsUnimplemented(read)) {
      return absl::UnimplementedError("the coordinator is of a version that keeps no log");
    }
    if (!absl::IsOutOfRange(read) || !checkpoint_.has_value()) return read;
    return Refused("the coordinator's log has become shorter while it was read");
  }

  absl::StatusOr<bool> TakePart(const v1::LogPart& part) {
    if (pull_.stop.stop_requested()) return false;
    if (!checkpoint_.has_value()) RETURN_IF_ERROR(Begin(part));
    for (const std::string& entry : part.entries()) {
      if (hasher_.size() == checkpoint_->head.size) break;
      if (entry.empty() || entry.size() > kLongestLogEntry || entry.find('\n') != entry.npos) {
        return Refused(fmt::format("entry {} of the coordinator's log is none: a line of JSON",
                                   hasher_.size() + 1));
      }
      hasher_.Add(entry);
      RETURN_IF_ERROR(take_(entry));
    }
    pull_.progress(
        static_cast<double>(hasher_.size()) / static_cast<double>(checkpoint_->head.size + 1),
        hasher_.size());
    return hasher_.size() < checkpoint_->head.size;
  }

  absl::Status Begin(const v1::LogPart& part) {
    const SignedCheckpoint checkpoint = {.note = part.checkpoint().note(),
                                         .certificate_pem = part.checkpoint().certificate_pem()};
    ASSIGN_OR_RETURN(const LogCheckpoint verified,
                     Verified(checkpoint, pull_, "the coordinator's checkpoint"));
    if (verified.head.size < hasher_.size()) return absl::OutOfRangeError("");
    RETURN_IF_ERROR(begin_(checkpoint));
    checkpoint_ = verified;
    return absl::OkStatus();
  }

  const LogPull& pull_;
  LogHasher hasher_;
  const Begun begin_;
  const Taken take_;
  std::optional<LogCheckpoint> checkpoint_;
};

// What an earlier pull has written.
struct Earlier {
  LogCheckpoint checkpoint;
  LogHasher hasher;
};

absl::StatusOr<Earlier> ReadEarlier(const LogPull& pull) {
  ASSIGN_OR_RETURN(LogFileReader file, LogFileReader::Open(pull.file));
  Earlier earlier;
  ASSIGN_OR_RETURN(earlier.checkpoint, Verified(file.checkpoint(), pull, pull.file.string()));
  while (true) {
    const auto entry = file.Next();
    if (!entry.ok()) return WithExitCode(entry.status(), ExitCode::kRefused);
    if (!entry->has_value()) break;
    if (pull.stop.stop_requested()) return Interrupted();
    earlier.hasher.Add(**entry);
  }
  if (earlier.hasher.head() == earlier.checkpoint.head) return earlier;
  return Refused(fmt::format(
      "{} is not as it was pulled: its entries are not those of its checkpoint; pull the log into "
      "another file",
      pull.file.string()));
}

absl::StatusOr<std::optional<Earlier>> FindEarlier(const LogPull& pull) {
  std::error_code unreadable_is_there;
  if (fs::symlink_status(pull.file, unreadable_is_there).type() == fs::file_type::not_found) {
    return std::nullopt;
  }
  ASSIGN_OR_RETURN(Earlier earlier, ReadEarlier(pull));
  return earlier;
}

// Adds the entries of an earlier file to the new one.
absl::Status CopyEntries(const LogPull& pull, LineWriter& to) {
  ASSIGN_OR_RETURN(LogFileReader file, LogFileReader::Open(pull.file));
  while (true) {
    ASSIGN_OR_RETURN(const auto entry, file.Next());
    if (!entry.has_value()) return absl::OkStatus();
    if (pull.stop.stop_requested()) return Interrupted();
    RETURN_IF_ERROR(to.Add(*entry));
  }
}

// Where the coordinator's log, which does not begin with the file, differs from it: it is
// read once more, from its beginning.
absl::Status Differs(const LogPull& pull, uint64_t had) {
  ASSIGN_OR_RETURN(LogFileReader file, LogFileReader::Open(pull.file));
  uint64_t same = 0;
  bool differs = false;
  Receiver receiver(
      pull, LogHasher(), [](const SignedCheckpoint&) { return absl::OkStatus(); },
      [&](std::string_view entry) -> absl::Status {
        if (differs || same == had) return absl::OkStatus();
        ASSIGN_OR_RETURN(const auto earlier, file.Next());
        differs = earlier != entry;
        if (!differs) ++same;
        return absl::OkStatus();
      });
  RETURN_IF_ERROR(receiver.Receive());
  if (!receiver.IsAsSigned() || same == had) {
    return NotAsSigned();
  }
  const uint64_t size = receiver.checkpoint().head.size;
  return Refused(fmt::format(
      "the coordinator's log does not begin with {0}: {1}. {0} has {2} entries, and the "
      "coordinator's log {3}; both are signed. {0} stays as it is: keep it, pull the log into "
      "another file, and ask the coordinator's operator why",
      pull.file.string(),
      same == size ? "it was rolled back" : fmt::format("they differ from entry {} on", same + 1),
      had, size));
}

}  // namespace

absl::StatusOr<PulledLog> PullLog(const LogPull& pull) {
  ASSIGN_OR_RETURN(const std::optional<Earlier> earlier, FindEarlier(pull));
  std::optional<LineWriter> writer;
  const LogHasher before = earlier.has_value() ? earlier->hasher : LogHasher();
  Receiver receiver(
      pull, before,
      [&](const SignedCheckpoint& checkpoint) -> absl::Status {
        ASSIGN_OR_RETURN(FileWriter file, FileWriter::Create(pull.file, 0));
        writer.emplace(std::move(file));
        std::string header = LogFileHeader(checkpoint);
        header.pop_back();
        RETURN_IF_ERROR(writer->Add(header));
        return earlier.has_value() ? CopyEntries(pull, *writer) : absl::OkStatus();
      },
      [&writer](std::string_view entry) { return writer->Add(entry); });
  const absl::Status received = receiver.Receive();
  const bool is_other = absl::IsOutOfRange(received) || (received.ok() && !receiver.IsAsSigned());
  if (is_other && earlier.has_value()) return Differs(pull, before.size());
  RETURN_IF_ERROR(received);
  if (!receiver.IsAsSigned()) return NotAsSigned();
  RETURN_IF_ERROR(std::move(*writer).Commit());
  return PulledLog{.had = before.size(), .checkpoint = receiver.checkpoint()};
}

}  // namespace fedtune
