// SPDX-License-Identifier: Apache-2.0

#include "client/data/dataset.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <system_error>
#include <utility>

#include "base/descriptor.h"
#include "base/files.h"
#include "base/json.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "client/data/lines.h"
#include "fmt/format.h"
#include "model/chat/white_space.h"
#include "model/tokenizer/utf8.h"

namespace fedtune {
namespace {

constexpr std::string_view kExpected =
    R"(each line must be a JSON object, as {"instruction": "...", "input": "...", "output": "..."} )"
    R"(or {"messages": [{"role": "user", "content": "..."}, ...]})";

absl::Status Rejected(const std::string& reason) { return absl::InvalidArgumentError(reason); }

bool IsBlankLine(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

// White space of any script: a chat template would strip it.
bool IsBlank(std::string_view text) { return WithoutSpaceBefore(text).empty(); }

// Files of other kinds, by how they begin, so that nobody has to guess from a byte.
std::string_view OtherForm(std::string_view text) {
  struct Form {
    std::string_view begin, name;
  };
  constexpr Form kForms[] = {{"\x1F\x8B", "compressed (gzip)"},
                             {"\x28\xB5\x2F\xFD", "compressed (Zstandard)"},
                             {"\xFD"
                              "7zXZ",
                              "compressed (xz)"},
                             {"BZh", "compressed (bzip2)"},
                             {"PK\x03\x04", "an archive (zip)"},
                             {"PAR1", "a Parquet file"},
                             {"\xFF\xFE", "in UTF-16"},
                             {"\xFE\xFF", "in UTF-16"}};
  for (const Form& form : kForms) {
    if (text.starts_with(form.begin)) return form.name;
  }
  // No text has it, and few other kinds do without it at their beginning.
  const bool has_zero = text.substr(0, 16).find('\0') != std::string_view::npos;
  return has_zero ? "binary, with a zero byte at its beginning" : "";
}

// A JSON list may have a record in a line, and the last has no comma behind it.
bool IsListStart(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && text[first] == '[';
}

// The text of a field; `otherwise` where it is absent or null.
absl::StatusOr<std::string> TextField(const nlohmann::json& object, std::string_view key,
                                      std::optional<std::string> otherwise = std::nullopt) {
  const auto field = object.find(std::string(key));
  if (field == object.end() || field->is_null()) {
    if (otherwise.has_value()) return *std::move(otherwise);
    return Rejected(fmt::format("no \"{}\"", key));
  }
  if (!field->is_string()) return Rejected(fmt::format("\"{}\" is not text", key));
  return field->get<std::string>();
}

absl::StatusOr<DatasetRecord> ParseInstruction(const nlohmann::json& object) {
  InstructionRecord record;
  ASSIGN_OR_RETURN(record.instruction, TextField(object, "instruction"));
  ASSIGN_OR_RETURN(record.input, TextField(object, "input", ""));
  ASSIGN_OR_RETURN(record.output, TextField(object, "output"));
  if (IsBlank(record.instruction) && IsBlank(record.input)) {
    return Rejected("\"instruction\" and \"input\" are both empty");
  }
  if (IsBlank(record.output)) return Rejected("\"output\" is empty");
  return record;
}

// Of an answer 0 or 1, and 1 where it is not said; others are never learnt.
absl::StatusOr<bool> IsLearnt(const nlohmann::json& message, bool is_answer) {
  const auto weight = message.find("weight");
  if (weight == message.end() || weight->is_null()) return true;
  if (*weight != 0 && *weight != 1) return Rejected("\"weight\" is neither 0 nor 1");
  if (*weight == 1 && !is_answer) return Rejected("\"weight\" is 1, but only answers are learnt");
  return *weight == 1;
}

// What a chat template may write of a turn besides its content.
absl::Status RefuseOtherParts(const nlohmann::json& turn) {
  for (const char* key : {"tool_calls", "function_call", "reasoning_content"}) {
    const auto part = turn.find(key);
    if (part == turn.end() || part->empty() || *part == "") continue;
    return Rejected(
        fmt::format("\"{}\" is not supported: all that is said must be in \"content\"", key));
  }
  return absl::OkStatus();
}

absl::StatusOr<Turn> ParseTurn(const nlohmann::json& value) {
  if (!value.is_object()) return Rejected("not a JSON object");
  Turn turn;
  ASSIGN_OR_RETURN(turn.role, TextField(value, "role"));
  RETURN_IF_ERROR(RefuseOtherParts(value));
  ASSIGN_OR_RETURN(turn.content, TextField(value, "content"));
  const bool known = turn.role == "system" || turn.role == "user" || turn.role == "assistant" ||
                     turn.role == "tool";
  if (!known) return Rejected("\"role\" is not system, user, assistant or tool");
  const bool is_answer = turn.role == "assistant";
  if (is_answer && IsBlank(turn.content)) return Rejected("the answer is empty");
  ASSIGN_OR_RETURN(turn.is_learnt, IsLearnt(value, is_answer));
  ASSIGN_OR_RETURN(turn.name, TextField(value, "name", ""));
  ASSIGN_OR_RETURN(turn.tool_call_id, TextField(value, "tool_call_id", ""));
  return turn;
}

absl::StatusOr<DatasetRecord> ParseConversation(const nlohmann::json& messages) {
  if (!messages.is_array()) return Rejected("\"messages\" is not a list");
  ConversationRecord record;
  bool answered = false, learnt = false;
  for (size_t i = 0; i < messages.size(); ++i) {
    absl::StatusOr<Turn> turn = ParseTurn(messages[i]);
    if (!turn.ok()) return Annotate(turn.status(), fmt::format("messages[{}]", i));
    if (i == 0 && turn->role == "assistant") return Rejected("\"messages\" begins with an answer");
    answered = answered || turn->role == "assistant";
    learnt = learnt || (turn->role == "assistant" && turn->is_learnt);
    record.turns.push_back(*std::move(turn));
  }
  if (!answered) return Rejected("\"messages\" has no turn of the assistant");
  if (!learnt) return Rejected("every answer has \"weight\" 0");
  return record;
}

// The line's JSON, or what is wrong with it in words that need no file name.
absl::StatusOr<nlohmann::json> ParseLine(std::string_view line) {
  if (const std::optional<size_t> at = FindInvalidUtf8(line)) {
    return Rejected(fmt::format("not UTF-8 (at byte {})", *at + 1));
  }
  constexpr std::string_view kSource = "line";
  absl::StatusOr<nlohmann::json> value = ParseJson(line, kSource);
  if (value.ok()) return value;
  const std::string_view reason = Message(value.status()).substr(kSource.size() + 2);
  if (reason == fmt::format("not JSON (at byte {})", line.size() + 1)) {
    return Rejected("not JSON (unexpected end of line)");
  }
  // Other reasons quote the line, and a record must not reach a report or a log.
  if (reason.starts_with("duplicate key")) return Rejected("a key comes twice");
  if (reason.find("number overflow") != std::string_view::npos) {
    return Rejected("a number is too large");
  }
  const bool quotes = !reason.starts_with("not JSON (at byte") && reason != "nested too deeply" &&
                      !reason.starts_with("is a pointer of Git LFS");
  return Rejected(quotes ? "not JSON" : std::string(reason));
}

int64_t AnswersNotLearnt(const DatasetRecord& record) {
  const auto* conversation = std::get_if<ConversationRecord>(&record);
  if (conversation == nullptr) return 0;
  return std::count_if(
      conversation->turns.begin(), conversation->turns.end(),
      [](const Turn& turn) { return turn.role == "assistant" && !turn.is_learnt; });
}

// Counts the lines and hands on the records of one data set.
class Reading {
 public:
  explicit Reading(const RecordTaker& take)
      : take_(take), lines_([this](const Line& line) { TakeLine(line); }) {}

  // False: whatever comes behind it, it is no data set.
  bool Feed(std::string_view block) {
    if (!std::exchange(begun_, true)) other_form_ = OtherForm(block);
    if (other_form_.empty()) lines_.Feed(block);
    return other_form_.empty() && !is_list_;
  }

  int64_t used() const { return report_.used; }

  absl::StatusOr<DatasetReport> Finish(std::string_view source) && {
    lines_.Finish();
    return std::move(*this).Report(source);
  }

 private:
  void TakeLine(const Line& line) {
    std::string_view text = line.text;
    constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
    if (line.number == 1 && text.starts_with(kByteOrderMark)) text.remove_prefix(3);
    if (IsBlankLine(text) && !line.too_long) return;
    is_list_ = is_list_ || (report_.used + report_.rejected == 0 && IsListStart(text));
    if (is_list_) return;
    const absl::Status status = line.too_long ? TooLong() : TakeRecord(text);
    if (status.ok()) {
      ++report_.used;
      return;
    }
    ++report_.rejected;
    if (report_.rejections.size() < DatasetReport::kMaxRejections) {
      report_.rejections.push_back({line.number, std::string(Message(status))});
    }
  }

  absl::StatusOr<DatasetReport> Report(std::string_view source) && {
    if (!other_form_.empty()) {
      return Rejected(
          fmt::format("{}: {}, not JSON lines in UTF-8: {}", source, other_form_, kExpected));
    }
    if (is_list_) {
      return Rejected(
          fmt::format("{0}: a JSON list, not JSON lines: {1}; jq -c '.[]' {0} writes "
                      "such lines",
                      source, kExpected));
    }
    if (report_.used > 0) return std::move(report_);
    if (report_.rejected == 0) {
      return Rejected(fmt::format("{}: the data set has no records; {}", source, kExpected));
    }
    const Rejection& first = report_.rejections.front();
    const std::string advice = has_record_ ? "" : fmt::format("; {}", kExpected);
    return Rejected(fmt::format("{}:{}: {}; all {} records were rejected{}", source, first.line,
                                first.reason, GroupDigits(static_cast<uint64_t>(report_.rejected)),
                                advice));
  }

  static absl::Status TooLong() {
    return Rejected(fmt::format("longer than {}", HumanBytes(LineSplitter::kMaxLineBytes)));
  }

  absl::Status TakeRecord(std::string_view text) {
    ASSIGN_OR_RETURN(DatasetRecord record, ParseRecord(text));
    has_record_ = true;
    const int64_t not_learnt = AnswersNotLearnt(record);
    RETURN_IF_ERROR(take_(std::move(record)));
    report_.answers_not_learnt += not_learnt;
    return absl::OkStatus();
  }

  const RecordTaker& take_;
  LineSplitter lines_;
  DatasetReport report_;
  bool begun_ = false;
  bool has_record_ = false;           // One of the lines.
  bool is_list_ = false;              // Its lines may be records; they are its elements.
  std::string_view other_form_ = "";  // Of the file.
};

// A pipe that a name of the file system stands for: its opening waits for somebody who
// writes. One that this process got with its start has no such name.
bool IsNamedPipe(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::path named = std::filesystem::canonical(path, error);
  return !error && std::filesystem::is_fifo(named, error);
}

// 0 for what has no size, as pipes. INVALID_ARGUMENT: a device, which may have no end.
absl::StatusOr<double> SizeOf(int fd, const std::filesystem::path& path) {
  struct stat file = {};
  if (::fstat(fd, &file) != 0) return ErrnoToStatus(errno, "read", path);
  if (S_ISCHR(file.st_mode) || S_ISBLK(file.st_mode)) {
    return absl::InvalidArgumentError(
        fmt::format("cannot read {}: it is a device; a file is needed", path.string()));
  }
  return S_ISREG(file.st_mode) ? static_cast<double>(file.st_size) : 0;
}

// Gives the blocks of a file to `feed`, with the share of the file that it has then got,
// until it wants no more.
absl::Status ReadBlocks(const std::filesystem::path& path,
                        const std::function<bool(std::string_view, double fraction)>& feed) {
  if (IsNamedPipe(path)) {
    return absl::InvalidArgumentError(
        fmt::format("cannot read {}: it is a pipe; a file is needed", path.string()));
  }
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return ErrnoToStatus(errno, "open", path);
  ASSIGN_OR_RETURN(const double total, SizeOf(file.get(), path));
  double done = 0;
  std::vector<char> block(1 << 18);
  while (true) {
    const ssize_t size = ::read(file.get(), block.data(), block.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return ErrnoToStatus(errno, "read", path);
    if (size == 0) return absl::OkStatus();
    done += static_cast<double>(size);
    const double fraction = total > 0 ? std::min(done / total, 1.0) : 0;
    if (!feed({block.data(), static_cast<size_t>(size)}, fraction)) return absl::OkStatus();
  }
}

}  // namespace

absl::StatusOr<DatasetRecord> ParseRecord(std::string_view line) {
  ASSIGN_OR_RETURN(const nlohmann::json value, ParseLine(line));
  if (!value.is_object()) return Rejected("not a JSON object");
  const auto messages = value.find("messages");
  const bool has_messages = messages != value.end() && !messages->is_null();
  return has_messages ? ParseConversation(*messages) : ParseInstruction(value);
}

std::string Describe(const DatasetReport& report, std::string_view source) {
  const auto digits = [](int64_t count) { return GroupDigits(static_cast<uint64_t>(count)); };
  std::string notes;
  if (report.answers_not_learnt > 0) {
    notes =
        fmt::format("; {} answers of weight 0 are not learnt", digits(report.answers_not_learnt));
  }
  if (report.plain_conversations > 0) {
    notes +=
        fmt::format("; {} conversations are read as plain text: the model has no chat template",
                    digits(report.plain_conversations));
  }
  if (report.rejected == 0) {
    return fmt::format("{}: {} records{}", source, digits(report.used), notes);
  }
  const Rejection& first = report.rejections.front();
  return fmt::format("{}:{}: {}; {} of {} records rejected, {} used{}", source, first.line,
                     first.reason, digits(report.rejected), digits(report.used + report.rejected),
                     digits(report.used), notes);
}

absl::StatusOr<DatasetReport> ReadDataset(const std::filesystem::path& path,
                                          const RecordTaker& take, const ReadingObserver& observe) {
  Reading reading(take);
  RETURN_IF_ERROR(ReadBlocks(path, [&](std::string_view block, double fraction) {
    const bool goes_on = reading.Feed(block);
    if (observe) observe(fraction, reading.used());
    return goes_on;
  }));
  return std::move(reading).Finish(path.string());
}

absl::StatusOr<DatasetReport> ReadDatasetText(std::string_view text, std::string_view source,
                                              const RecordTaker& take) {
  Reading reading(take);
  reading.Feed(text);
  return std::move(reading).Finish(source);
}

}  // namespace fedtune
