// SPDX-License-Identifier: Apache-2.0

#include "cli/log_file.h"

#include <unistd.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "base/exit_code.h"
#include "base/files.h"
#include "base/json.h"
#include "base/opened_file.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/audit/checkpoint_json.h"
#include "privacy/audit/log_entry.h"

namespace fedtune {
namespace {

absl::Status NoCheckpoint(std::string_view source) {
  return CheckpointFromJson(nullptr, source).status();
}

LineReader::Source PiecesOf(OpenedFile file, std::filesystem::path path) {
  // A std::function is copied.
  const auto opened = std::make_shared<OpenedFile>(std::move(file));
  return [opened, path = std::move(path)](std::span<char> room) -> absl::StatusOr<size_t> {
    ssize_t got = -1;
    do {
      got = ::read(opened->descriptor.get(), room.data(), room.size());
    } while (got < 0 && errno == EINTR);
    if (got < 0) return ErrnoToStatus(errno, "read", path);
    return static_cast<size_t>(got);
  };
}

}  // namespace

std::string LogFileHeader(const SignedCheckpoint& checkpoint) {
  return JsonLine(CheckpointToJson(checkpoint));
}

absl::StatusOr<SignedCheckpoint> ParseSignedCheckpoint(std::string_view text,
                                                       std::string_view source) {
  const absl::StatusOr<nlohmann::json> json = ParseJson(text, source);
  return json.ok() ? CheckpointFromJson(*json, source) : NoCheckpoint(source);
}

absl::StatusOr<LogFileReader> LogFileReader::Open(const std::filesystem::path& file) {
  absl::StatusOr<OpenedFile> opened = OpenToRead(file);
  if (!opened.ok()) return OfNamedFile(opened.status());
  return Read(PiecesOf(*std::move(opened), file), file.string());
}

absl::StatusOr<LogFileReader> LogFileReader::Read(LineReader::Source source, std::string name) {
  LogFileReader reader(LineReader(std::move(source), kLongestLogEntry), std::move(name));
  const absl::StatusOr<std::optional<std::string_view>> line = reader.lines_.Next();
  if (!line.ok() && !absl::IsDataLoss(line.status())) return line.status();
  if (!line.ok() || !line->has_value()) return NoCheckpoint(reader.name_);
  ASSIGN_OR_RETURN(reader.checkpoint_, ParseSignedCheckpoint(**line, reader.name_));
  return reader;
}

absl::StatusOr<std::optional<std::string_view>> LogFileReader::Next() {
  ++line_;
  absl::StatusOr<std::optional<std::string_view>> line = lines_.Next();
  if (absl::IsDataLoss(line.status())) return Annotate(line.status(), place());
  return line;
}

std::string LogFileReader::place() const { return fmt::format("{}:{}", name_, line_); }

}  // namespace fedtune
