// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "cli/line_reader.h"
#include "privacy/audit/checkpoint.h"

namespace fedtune {

// A coordinator's log as `fedtune log pull` writes it: a line of JSON with the checkpoint's
// `note` and `certificate`, then the bytes of all entries up to it, a line each.

// The first line, with its break.
std::string LogFileHeader(const SignedCheckpoint& checkpoint);

// Reads such an object; other keys may stand beside the two. It is also what an institution's
// client keeps. INVALID_ARGUMENT: it is none; the message begins with `source`.
absl::StatusOr<SignedCheckpoint> ParseSignedCheckpoint(std::string_view json,
                                                       std::string_view source);

// Reads such a file, or what might be one; nothing in it is verified. Memory does not grow
// with its size. Movable. Not thread-safe.
class LogFileReader {
 public:
  // INVALID_ARGUMENT: it is not there, may not be read, or does not begin with a checkpoint.
  static absl::StatusOr<LogFileReader> Open(const std::filesystem::path& file);

  // The same of a text called `name`.
  static absl::StatusOr<LogFileReader> Read(LineReader::Source source, std::string name);

  const SignedCheckpoint& checkpoint() const { return checkpoint_; }

  // The next entry's bytes, which stay until the next call; absent: there is none.
  // DATA_LOSS: the file is cut off within a line, or one is longer than any entry.
  absl::StatusOr<std::optional<std::string_view>> Next();

  // Where the last one stands, as in "north.log:14".
  std::string place() const;

 private:
  LogFileReader(LineReader lines, std::string name)
      : lines_(std::move(lines)), name_(std::move(name)) {}

  LineReader lines_;
  std::string name_;
  uint64_t line_ = 1;
  SignedCheckpoint checkpoint_;
};

}  // namespace fedtune
