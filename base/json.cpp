// SPDX-License-Identifier: Apache-2.0

#include "base/json.h"

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr int kMaxDepth = 64;

// What a clone without Git LFS has in the place of a large file.
constexpr std::string_view kGitLfsPointer = "version https://git-lfs";

// Stops at a key that an object has twice, of which nlohmann::json would keep one. Not a
// callback of its parser: at each object's end that looks through all of the array around
// it, hours for megabytes of small objects.
class KeysOnce final : public nlohmann::json::json_sax_t {
 public:
  bool start_object(size_t) override {
    keys_.emplace_back();
    return true;
  }
  bool key(std::string& key) override {
    if (keys_.back().insert(key).second) return true;
    problem_ = fmt::format("duplicate key \"{}\"", key);
    return false;
  }
  bool end_object() override {
    keys_.pop_back();
    return true;
  }

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(int64_t) override { return true; }
  bool number_unsigned(uint64_t) override { return true; }
  bool number_float(double, const std::string&) override { return true; }
  bool string(std::string&) override { return true; }
  bool binary(nlohmann::json::binary_t&) override { return true; }
  bool start_array(size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(size_t, const std::string&, const nlohmann::json::exception&) override {
    return false;
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
  try {
    auto value = nlohmann::json::parse(text);
    KeysOnce keys;
    if (nlohmann::json::sax_parse(text, &keys)) return value;
    return absl::InvalidArgumentError(fmt::format("{}: {}", source, keys.problem()));
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
