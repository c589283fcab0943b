// SPDX-License-Identifier: Apache-2.0

#include "model/chat/template_functions.h"

#include <cstdint>
#include <string>
#include <utility>

#include "fmt/format.h"
#include "model/chat/white_space.h"

namespace fedtune {
namespace {

using Arguments = std::vector<TemplateValue>;

constexpr size_t kMaxParts = size_t{1} << 16;  // A part takes far more memory than its text.

absl::Status NotSupported(std::string_view kind, std::string_view name) {
  return absl::InvalidArgumentError(
      fmt::format("{} \"{}\" is not supported with these values", kind, name));
}

MarkedText Stripped(const MarkedText& text, bool left, bool right) {
  const std::string_view all = text.text();
  const std::string_view behind = left ? WithoutSpaceBefore(all) : all;
  const size_t size = (right ? WithoutSpaceBehind(behind) : behind).size();
  return text.Part(all.size() - behind.size(), size);
}

// As Python's json.dumps(..., ensure_ascii=False) writes it.
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

absl::StatusOr<TemplateValue> Split(const MarkedText& text, const std::string& separator,
                                    int64_t at_most) {
  TemplateList parts;
  size_t begin = 0;
  for (size_t at = text.text().find(separator); at != std::string::npos && at_most != 0;
       at = text.text().find(separator, begin)) {
    if (parts.size() == kMaxParts) {
      return absl::ResourceExhaustedError("the chat template splits text in too many parts");
    }
    parts.push_back({text.Part(begin, at - begin)});
    begin = at + separator.size();
    --at_most;
  }
  parts.push_back({text.Part(begin)});
  return ListValue(std::move(parts));
}

// The argument as text that is not empty; null if it is not.
const std::string* TextAt(const Arguments& arguments, size_t at) {
  if (at >= arguments.size() || arguments[at].text() == nullptr) return nullptr;
  const std::string& text = arguments[at].text()->text();
  return text.empty() ? nullptr : &text;
}

absl::StatusOr<TemplateValue> CallOfText(const MarkedText& text, std::string_view name,
                                         const Arguments& arguments) {
  if (arguments.empty() && (name == "strip" || name == "lstrip" || name == "rstrip")) {
    return TemplateValue{Stripped(text, name != "rstrip", name != "lstrip")};
  }
  const std::string* const first = TextAt(arguments, 0);
  if (first == nullptr) return NotSupported("method", name);
  if (arguments.size() == 1) {
    if (name == "startswith") return TemplateValue{text.text().starts_with(*first)};
    if (name == "endswith") return TemplateValue{text.text().ends_with(*first)};
    if (name == "split") return Split(text, *first, -1);
  }
  if (arguments.size() == 2 && name == "split" && arguments[1].As<int64_t>() != nullptr) {
    return Split(text, *first, *arguments[1].As<int64_t>());
  }
  return NotSupported("method", name);
}

}  // namespace

absl::StatusOr<TemplateValue> CallMethod(const TemplateValue& target, std::string_view name,
                                         const Arguments& arguments) {
  if (target.text() != nullptr) return CallOfText(*target.text(), name, arguments);
  if (target.object() != nullptr && name == "get" && !arguments.empty() && arguments.size() <= 2 &&
      arguments[0].text() != nullptr) {
    const auto found = target.object()->find(arguments[0].text()->text());
    if (found != target.object()->end()) return found->second;
    return arguments.size() == 2 ? arguments[1] : TemplateValue{TemplateValue::None{}};
  }
  return NotSupported("method", name);
}

absl::StatusOr<TemplateValue> ApplyFilter(const TemplateValue& target, std::string_view name,
                                          const Arguments& arguments) {
  const MarkedText* const text = target.text();
  const TemplateList* const list = target.list();
  if (name == "default" && arguments.size() == 1) {
    return target.is_undefined() ? arguments[0] : target;
  }
  if (!arguments.empty()) return NotSupported("filter", name);
  if (name == "trim" && text != nullptr) return TemplateValue{Stripped(*text, true, true)};
  if (name == "string" && text != nullptr) return target;
  if (name == "tojson" && text != nullptr) return TemplateValue{AsJson(*text)};
  if ((name == "length" || name == "count") && list != nullptr) {
    return TemplateValue{static_cast<int64_t>(list->size())};
  }
  if ((name == "first" || name == "last") && list != nullptr) {
    if (list->empty()) return TemplateValue();
    return name == "first" ? list->front() : list->back();
  }
  return NotSupported("filter", name);
}

absl::StatusOr<bool> Test(const TemplateValue& target, std::string_view name) {
  const bool* const boolean = target.As<bool>();
  if (name == "defined") return !target.is_undefined();
  if (name == "undefined") return target.is_undefined();
  if (name == "none") return target.is_none();
  if (name == "string") return target.text() != nullptr;
  if (name == "mapping") return target.object() != nullptr;
  if (name == "boolean") return boolean != nullptr;
  if (name == "true") return boolean != nullptr && *boolean;
  if (name == "false") return boolean != nullptr && !*boolean;
  if (name == "number") return target.As<int64_t>() != nullptr || boolean != nullptr;
  if (name == "iterable") {
    return target.text() != nullptr || target.list() != nullptr || target.object() != nullptr ||
           target.is_undefined();
  }
  return NotSupported("test", name);
}

}  // namespace fedtune
