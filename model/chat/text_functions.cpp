// SPDX-License-Identifier: Apache-2.0

#include "model/chat/text_functions.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "model/chat/white_space.h"

namespace fedtune {
namespace {

bool IsAscii(char c) { return static_cast<uint8_t>(c) < 0x80; }
bool IsLetter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }
char Upper(char c) { return static_cast<char>(std::toupper(static_cast<unsigned char>(c))); }
char Lower(char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); }

}  // namespace

MarkedText Stripped(const MarkedText& text, bool left, bool right) {
  const std::string_view all = text.text();
  const std::string_view behind = left ? WithoutSpaceBefore(all) : all;
  const size_t size = (right ? WithoutSpaceBehind(behind) : behind).size();
  return text.Part(all.size() - behind.size(), size);
}

MarkedText Stripped(const MarkedText& text, std::string_view characters, bool left, bool right) {
  const std::string& all = text.text();
  const size_t begin = left ? std::min(all.find_first_not_of(characters), all.size()) : 0;
  const size_t last = right ? all.find_last_not_of(characters) : all.size() - 1;
  return text.Part(begin, std::max(last + 1, begin) - begin);
}

MarkedText AsJson(const MarkedText& text) {
  MarkedText json("\"");
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text.text()[at];
    constexpr std::string_view kEscapes = "\"\"\\\\\nn\rr\tt\bb\ff";
    std::string written(1, c);
    for (size_t i = 0; i < kEscapes.size(); i += 2) {
      if (kEscapes[i] == c) written = {'\\', kEscapes[i + 1]};
    }
    if (written.size() == 1 && static_cast<uint8_t>(c) < 0x20) {
      written = fmt::format("\\u{:04x}", static_cast<int>(c));
    }
    json += MarkedText(std::move(written), text.IsAnswer(at));
  }
  json += MarkedText("\"");
  return json;
}

absl::StatusOr<TemplateValue> Split(const MarkedText& text, std::string_view separator,
                                    int64_t at_most) {
  TemplateList parts;
  size_t begin = 0;
  for (size_t at = FindPart(text.text(), separator); at != std::string::npos && at_most != 0;
       at = FindPart(text.text(), separator, begin)) {
    if (parts.size() == kMaxTemplateList) {
      return absl::ResourceExhaustedError("the chat template splits text in too many parts");
    }
    parts.push_back({text.Part(begin, at - begin)});
    begin = at + separator.size();
    --at_most;
  }
  parts.push_back({text.Part(begin)});
  return ListValue(std::move(parts));
}

absl::StatusOr<TemplateValue> Replaced(const MarkedText& text, std::string_view part,
                                       std::string_view other) {
  MarkedText result;
  size_t begin = 0;
  for (size_t at = FindPart(text.text(), part); at != std::string::npos;
       at = FindPart(text.text(), part, begin)) {
    result += text.Part(begin, at - begin);
    result += MarkedText(std::string(other), text.IsAnswer(at));
    if (result.size() > kMaxTemplateText) {
      return absl::ResourceExhaustedError("the chat template writes too much");
    }
    begin = at + part.size();
  }
  result += text.Part(begin);
  return TemplateValue{std::move(result)};
}

std::optional<MarkedText> InCase(const MarkedText& text, std::string_view name) {
  const std::string& all = text.text();
  const bool is_title = name == "title";
  if (!std::all_of(all.begin(), all.end(), is_title ? IsLetter : IsAscii)) return std::nullopt;
  if (!is_title && name != "upper" && name != "lower" && name != "capitalize") return std::nullopt;
  MarkedText changed;
  for (size_t at = 0; at < all.size(); ++at) {
    const bool up = name == "upper" || (at == 0 && name != "lower");
    changed += MarkedText(std::string(1, up ? Upper(all[at]) : Lower(all[at])), text.IsAnswer(at));
  }
  return changed;
}

size_t FindPart(std::string_view text, std::string_view part, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  const void* const found =
      memmem(text.data() + from, text.size() - from, part.data(), part.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

int64_t CharacterCount(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; });
}

}  // namespace fedtune
