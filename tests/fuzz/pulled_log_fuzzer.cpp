// SPDX-License-Identifier: Apache-2.0

// A pulled log, in pieces of whatever size, and the order of what its entries say.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "cli/log_file.h"
#include "cli/log_order.h"
#include "cli/log_text.h"
#include "cli/record_in_log.h"
#include "privacy/audit/log_entry.h"

namespace {

using fedtune::Check;

void TakeEntry(std::string_view entry, fedtune::LogOrder& order, fedtune::RecordInLog& record) {
  Check(entry.find('\n') == std::string_view::npos, "an entry is a line");
  for (const std::string& text : {fedtune::LogEntryText(entry), fedtune::LogEntryJson(entry)}) {
    Check(text.find('\n') == std::string::npos && text.find('\x1b') == std::string::npos,
          "what is shown is one line, and moves no cursor");
  }
  const auto parsed = fedtune::ParseLogEntry(entry);
  if (!parsed.ok()) return;
  order.Follow(parsed->event);
  record.Follow(*parsed);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t piece = size_t{data[0]} + 1;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  auto file = fedtune::LogFileReader::Read(
      [text, piece, at = size_t{0}](std::span<char> room) mutable -> absl::StatusOr<size_t> {
        const size_t some = std::min({piece, room.size(), text.size() - at});
        std::copy_n(text.begin() + at, some, room.begin());
        at += some;
        return some;
      },
      "north.log");
  if (!file.ok()) return 0;
  fedtune::LogOrder order;
  fedtune::RecordInLog record({.run_id = "run-7f3a",
                               .base_model = "",
                               .base_digest = "",
                               .rounds_done = 0,
                               .adapter = {},
                               .layout_digest = {},
                               .rounds = {}});
  while (true) {
    const auto entry = file->Next();
    if (!entry.ok() || !entry->has_value()) break;
    TakeEntry(**entry, order, record);
  }
  Check(order.rounds_burnt() <= order.rounds_released(), "rounds that burnt are released");
  Check(record.compared() == 0, "a record without rounds has none in the log");
  record.Contradictions();
  return 0;
}
