// SPDX-License-Identifier: Apache-2.0

#include "cli/line_reader.h"

#include <algorithm>
#include <cstring>

#include "base/status_macros.h"
#include "base/units.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr size_t kLeastRoom = 64 << 10;

}  // namespace

absl::StatusOr<std::optional<std::string_view>> LineReader::Next() {
  size_t searched = begin_;
  while (true) {
    const std::string_view rest = std::string_view(buffer_).substr(searched, end_ - searched);
    const size_t found = rest.find('\n');
    const size_t size = searched - begin_ + std::min(found, rest.size());
    if (size > longest_) {
      return absl::DataLossError(fmt::format("it is longer than {}", HumanBytes(longest_)));
    }
    if (found != std::string_view::npos) {
      const std::string_view line = std::string_view(buffer_).substr(begin_, size);
      begin_ += size + 1;
      return line;
    }
    std::memmove(buffer_.data(), buffer_.data() + begin_, size);
    begin_ = 0;
    end_ = searched = size;
    if (buffer_.size() < end_ + kLeastRoom) buffer_.resize(2 * end_ + kLeastRoom);
    ASSIGN_OR_RETURN(const size_t more, source_(std::span(buffer_).subspan(end_)));
    end_ += more;
    if (more > 0) continue;
    if (end_ == 0) return std::nullopt;
    return absl::DataLossError("the text ends within it");
  }
}

}  // namespace fedtune
