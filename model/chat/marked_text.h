// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace fedtune {

// Text of which each byte knows whether the assistant has said it.
class MarkedText {
 public:
  MarkedText() = default;
  explicit MarkedText(std::string text, bool is_answer = false)
      : text_(std::move(text)), marks_(text_.size(), is_answer ? '\1' : '\0') {}

  const std::string& text() const { return text_; }
  size_t size() const { return text_.size(); }

  // Whether the assistant has said the byte at `at`.
  bool IsAnswer(size_t at) const { return marks_[at] != '\0'; }

  MarkedText Part(size_t begin, size_t count = std::string::npos) const {
    MarkedText part;
    part.text_ = text_.substr(begin, count);
    part.marks_ = marks_.substr(begin, count);
    return part;
  }

  MarkedText& operator+=(const MarkedText& other) {
    text_ += other.text_;
    marks_ += other.marks_;
    return *this;
  }

 private:
  std::string text_;
  std::string marks_;  // One for each byte.
};

}  // namespace fedtune
