// SPDX-License-Identifier: Apache-2.0

#include "base/logging.h"

#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/printable_text.h"
#include "nlohmann/json.hpp"
#include "spdlog/sinks/ansicolor_sink.h"
#include "spdlog/spdlog.h"

namespace fedtune {
namespace {

bool NeedsQuotes(std::string_view value) {
  return value.empty() || value.find_first_of(" \"=\\") != std::string_view::npos;
}

// A field's value, which may be another party's text, on one line.
std::string Value(std::string_view raw) {
  std::string value = PrintableText(raw);
  if (!NeedsQuotes(value)) return value;
  return fmt::format("\"{}\"", absl::StrReplaceAll(value, {{"\\", "\\\\"}, {"\"", "\\\""}}));
}

std::string KeyValueLine(std::string_view level, std::string_view event,
                         std::initializer_list<LogField> fields) {
  std::string line = fmt::format("{} {}", level, event);
  for (const LogField& field : fields) {
    line += fmt::format(" {}={}", field.key, Value(field.value));
  }
  return line;
}

}  // namespace

Log::Log(Format format) : format_(format) {
  logger_ = std::make_shared<spdlog::logger>(
      "fedtune", std::make_shared<spdlog::sinks::ansicolor_stderr_sink_mt>());
  logger_->set_pattern("%v");
  logger_->flush_on(spdlog::level::info);
}

Log::Log(std::function<void(std::string_view line)> sink)
    : format_(Format::kKeyValue), sink_(std::move(sink)) {}

std::string Log::Line(std::string_view level, std::string_view event,
                      std::initializer_list<LogField> fields) const {
  const std::string time =
      absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone());
  if (format_ == Format::kJson) {
    nlohmann::ordered_json line = {{"time", time}, {"level", level}, {"event", event}};
    for (const LogField& field : fields) line[std::string(field.key)] = field.value;
    return line.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  }
  return fmt::format("{} {}", time, KeyValueLine(level, event, fields));
}

void Log::Info(std::string_view event, std::initializer_list<LogField> fields) {
  if (sink_) return sink_(KeyValueLine("info", event, fields));
  logger_->info(Line("info", event, fields));
}
void Log::Warning(std::string_view event, std::initializer_list<LogField> fields) {
  if (sink_) return sink_(KeyValueLine("warning", event, fields));
  logger_->warn(Line("warning", event, fields));
}
void Log::Error(std::string_view event, std::initializer_list<LogField> fields) {
  if (sink_) return sink_(KeyValueLine("error", event, fields));
  logger_->error(Line("error", event, fields));
}

}  // namespace fedtune
