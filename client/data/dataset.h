// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fedtune {

// {"instruction": "...", "input": "...", "output": "..."}; "input" is optional.
struct InstructionRecord {
  std::string instruction;
  std::string input;
  std::string output;

  friend bool operator==(const InstructionRecord&, const InstructionRecord&) = default;
};

struct Turn {
  std::string role;  // "system", "user", "assistant" or "tool".
  std::string content;
  bool is_learnt = true;  // Of an answer: false with "weight": 0.
  // For chat templates that write them; empty: not there.
  std::string name = {};
  std::string tool_call_id = {};

  friend bool operator==(const Turn&, const Turn&) = default;
};

// {"messages": [{"role": "user", "content": "..."}, ...]}: the assistant's
// turns are the answers. One with "weight": 0, as OpenAI's format has it, is there for
// what follows, and not learnt.
struct ConversationRecord {
  std::vector<Turn> turns;

  friend bool operator==(const ConversationRecord&, const ConversationRecord&) = default;
};

using DatasetRecord = std::variant<InstructionRecord, ConversationRecord>;

// Reads one line of a data set. A line with "messages" is a conversation. Keys
// that are not named above are ignored.
//
// INVALID_ARGUMENT: not UTF-8 or JSON, a field that is missing or no text, an
// unknown role, tool calls or thoughts beside the content, a weight that is neither 0 nor 1
// or that is not an answer's, no question, no answer that is learnt, or an answer without
// anything but white space. The message is the reason alone, and quotes nothing of the line.
absl::StatusOr<DatasetRecord> ParseRecord(std::string_view line);

// A line that is not used, and why.
struct Rejection {
  int64_t line = 0;
  std::string reason;

  friend bool operator==(const Rejection&, const Rejection&) = default;
};

// What became of the lines of a data set. Blank lines are not counted.
struct DatasetReport {
  static constexpr size_t kMaxRejections = 10'000;

  int64_t used = 0;
  int64_t answers_not_learnt = 0;   // Of those that are used.
  int64_t plain_conversations = 0;  // Used as plain text: the model has no chat template.
  int64_t rejected = 0;
  std::vector<Rejection> rejections;  // In order; the first kMaxRejections.
};

// "train.jsonl:381: not JSON (unexpected end of line); 1 of 12,481 records
// rejected, 12,480 used", or "train.jsonl: 12,480 records; 3 answers of weight 0 are not
// learnt".
std::string Describe(const DatasetReport& report, std::string_view source);

// Takes a record. The message of a status that is not OK is the reason why the
// record is rejected.
using RecordTaker = std::function<absl::Status(DatasetRecord record)>;

// Told now and then how far the reading of a file is: the share of its bytes (0
// while a pipe is read), and the records that were taken.
using ReadingObserver = std::function<void(double fraction, int64_t records)>;

// A new observer for each file that is read.
using ObserverOfFile = std::function<ReadingObserver(const std::filesystem::path& file)>;

// Reads a data set in JSON lines, one record after the other, of files of any
// size.
//
// INVALID_ARGUMENT: a JSON list, a compressed file, one in UTF-16 or another that is no text
// (none of which is read any further), a device, or no record was taken (says why, and what a
// record looks like where there was none). NOT_FOUND,
// PERMISSION_DENIED, INTERNAL: the file cannot be read.
absl::StatusOr<DatasetReport> ReadDataset(const std::filesystem::path& path,
                                          const RecordTaker& take,
                                          const ReadingObserver& observe = {});

// The same for text in memory; `source` names it in messages.
absl::StatusOr<DatasetReport> ReadDatasetText(std::string_view text, std::string_view source,
                                              const RecordTaker& take);

}  // namespace fedtune
