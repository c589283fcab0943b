// SPDX-License-Identifier: Apache-2.0

#include "client/data/lines.h"

#include <utility>

namespace fedtune {

LineSplitter::LineSplitter(std::function<void(const Line&)> take) : take_(std::move(take)) {}

void LineSplitter::Feed(std::string_view block) {
  for (size_t end = 0; (end = block.find('\n')) != std::string_view::npos;) {
    Append(block.substr(0, end));
    EndLine();
    block.remove_prefix(end + 1);
  }
  Append(block);
}

void LineSplitter::Finish() {
  if (!partial_.empty()) EndLine();
}

void LineSplitter::Append(std::string_view part) {
  const size_t room = kMaxLineBytes - partial_.size();
  if (part.size() > room) too_long_ = true;
  partial_ += part.substr(0, room);
}

void LineSplitter::EndLine() {
  take_({.number = number_, .text = partial_, .too_long = too_long_});
  ++number_;
  partial_.clear();
  too_long_ = false;
}

}  // namespace fedtune
