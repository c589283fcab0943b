// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "fmt/format.h"

namespace spdlog {
class logger;
}

namespace fedtune {

// One key and its value in a log line.
struct LogField {
  std::string_view key;
  std::string value;
};

template <typename T>
LogField Field(std::string_view key, const T& value) {
  return {key, fmt::format("{}", value)};
}

// A daemon's log: one line per event on stderr, key=value or JSON. Records,
// tokens, contributions and secrets never go in. Thread-safe.
//
//   log.Info("round closed", {Field("run", run), Field("round", 3)});
class Log {
 public:
  enum class Format { kKeyValue, kJson };

  explicit Log(Format format = Format::kKeyValue);

  // Gives each line, in the first format and without the time of day, to `sink`.
  explicit Log(std::function<void(std::string_view line)> sink);

  void Info(std::string_view event, std::initializer_list<LogField> fields = {});
  void Warning(std::string_view event, std::initializer_list<LogField> fields = {});
  void Error(std::string_view event, std::initializer_list<LogField> fields = {});

 private:
  std::string Line(std::string_view level, std::string_view event,
                   std::initializer_list<LogField> fields) const;

  const Format format_;
  const std::function<void(std::string_view line)> sink_;
  std::shared_ptr<spdlog::logger> logger_;
};

}  // namespace fedtune
