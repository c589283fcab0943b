// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace fedtune {

// A line of a file, without its end.
struct Line {
  int64_t number = 1;
  std::string_view text;
  bool too_long = false;  // `text` is only its beginning.
};

// Cuts text that comes in blocks into lines, without holding more than one
// block and one line. Not thread-safe.
class LineSplitter {
 public:
  // Lines longer than this are cut off and marked.
  static constexpr size_t kMaxLineBytes = 16'000'000;

  // `take` gets every line; its text is gone when `take` returns.
  explicit LineSplitter(std::function<void(const Line&)> take);

  void Feed(std::string_view block);

  // Call it after the last block: gives the last line if nothing ended it.
  void Finish();

 private:
  void Append(std::string_view part);
  void EndLine();

  std::function<void(const Line&)> take_;
  int64_t number_ = 1;
  std::string partial_;  // The line that has begun, unless it is too long.
  bool too_long_ = false;
};

}  // namespace fedtune
