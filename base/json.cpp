// SPDX-License-Identifier: Apache-2.0

#include "base/json.h"

#include <set>
#include <string>
#include <vector>

#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr int kMaxDepth = 64;

// What a clone without Git LFS has in the place of a large file.
constexpr std::string_view kGitLfsPointer = "version https://git-lfs";

// Rejects what nlohmann::json would silently accept.
class StrictCallback {
 public:
  bool operator()(int depth, nlohmann::json::parse_event_t event, nlohmann::json& value) {
    using Event = nlohmann::json::parse_event_t;
    if (depth > kMaxDepth) problem_ = "nested too deeply";
    if (event == Event::object_start) keys_.emplace_back();
    if (event == Event::object_end && !keys_.empty()) keys_.pop_back();
    if (event == Event::key && !keys_.empty()) {
      const auto& key = value.get_ref<const std::string&>();
      if (!keys_.back().insert(key).second) problem_ = fmt::format("duplicate key \"{}\"", key);
    }
    return true;
  }

  const std::string& problem() const { return problem_; }

 private:
  std::vector<std::set<std::string>> keys_;
  std::string problem_;
};

// Depth is checked before parsing: the parser keeps one frame per level.
bool TooDeep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

}  // namespace

absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, std::string_view source) {
  if (text.starts_with(kGitLfsPointer)) {
    return absl::InvalidArgumentError(
        fmt::format("{}: is a pointer of Git LFS, not the file: run git lfs pull", source));
  }
  if (TooDeep(text)) {
    return absl::InvalidArgumentError(fmt::format("{}: nested too deeply", source));
  }
  StrictCallback strict;
  try {
    auto value = nlohmann::json::parse(text, std::ref(strict));
    if (strict.problem().empty()) return value;
    return absl::InvalidArgumentError(fmt::format("{}: {}", source, strict.problem()));
  } catch (const nlohmann::json::parse_error& error) {
    return absl::InvalidArgumentError(fmt::format("{}: not JSON (at byte {})", source, error.byte));
  } catch (const nlohmann::json::exception& error) {
    return absl::InvalidArgumentError(fmt::format("{}: not JSON ({})", source, error.what()));
  }
}

std::string JsonLine(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace fedtune
