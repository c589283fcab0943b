// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace fedtune {

// The lines of a text that comes piece by piece, of whatever length: memory holds some of
// them at a time. Movable. Not thread-safe.
class LineReader {
 public:
  // Puts what comes next to the beginning of the room, and says how much it is; 0: no more.
  using Source = std::function<absl::StatusOr<size_t>(std::span<char> room)>;

  LineReader(Source source, size_t longest) : source_(std::move(source)), longest_(longest) {}

  // The next line without its break, which stays until the next call; absent: there is none.
  // DATA_LOSS: it is longer than the longest, or the text ends within it. Or what the source
  // says. No line comes after an error.
  absl::StatusOr<std::optional<std::string_view>> Next();

 private:
  Source source_;
  size_t longest_;
  std::string buffer_;
  size_t begin_ = 0;  // Of what is in the buffer and was not given yet,
  size_t end_ = 0;    // and its end.
};

}  // namespace fedtune
