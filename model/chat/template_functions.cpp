// SPDX-License-Identifier: Apache-2.0

#include "model/chat/template_functions.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/chat/text_functions.h"

namespace fedtune {
namespace {

absl::Status NotSupported(std::string_view kind, std::string_view name) {
  return absl::InvalidArgumentError(
      fmt::format("{} \"{}\" is not supported with these values", kind, name));
}

// Whether arguments with a name stand where one without it would.
bool AreInPlace(std::string_view function, const std::vector<std::string>& names) {
  struct Parameters {
    std::string_view function;
    std::string_view names[2];
  };
  constexpr Parameters kKnown[] = {{"split", {"sep", "maxsplit"}},
                                   {"default", {"default_value", "boolean"}},
                                   {"join", {"d", "attribute"}}};
  const auto* const known = std::ranges::find(kKnown, function, &Parameters::function);
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i].empty()) continue;
    if (known == std::end(kKnown) || i > 1 || known->names[i] != names[i]) return false;
  }
  return true;
}

// The values of arguments by their places.
class Given {
 public:
  explicit Given(const TemplateArguments& arguments) : values_(arguments.values) {}

  size_t count() const { return values_.size(); }

  // Null if it is not there, or no text, or empty.
  const std::string* Text(size_t at) const {
    if (at >= values_.size() || values_[at].text() == nullptr) return nullptr;
    const std::string& text = values_[at].text()->text();
    return text.empty() ? nullptr : &text;
  }

  // Null if it is not there, or no number.
  const int64_t* Number(size_t at) const {
    return at < values_.size() ? values_[at].As<int64_t>() : nullptr;
  }

 private:
  const std::vector<TemplateValue>& values_;
};

absl::StatusOr<TemplateValue> StripOfText(const MarkedText& text, std::string_view name,
                                          const Given& given) {
  const bool left = name != "rstrip", right = name != "lstrip";
  if (given.count() == 0) return TemplateValue{Stripped(text, left, right)};
  const std::string* const characters = given.Text(0);
  const auto is_ascii = [](char c) { return static_cast<uint8_t>(c) < 0x80; };
  constexpr size_t kMaxCharacters = 128;  // Each is looked for in all of them.
  if (given.count() > 1 || characters == nullptr || characters->size() > kMaxCharacters ||
      !std::all_of(characters->begin(), characters->end(), is_ascii)) {
    return NotSupported("method", name);
  }
  return TemplateValue{Stripped(text, *characters, left, right)};
}

// What a text's methods and the filters of that name have in common.
absl::StatusOr<TemplateValue> ChangeText(const MarkedText& text, std::string_view kind,
                                         std::string_view name, const TemplateArguments& given) {
  const std::vector<TemplateValue>& values = given.values;
  if (name == "replace" && values.size() == 2 && values[0].text() != nullptr &&
      values[0].text()->size() > 0 && values[1].text() != nullptr) {
    return Replaced(text, values[0].text()->text(), values[1].text()->text());
  }
  if (std::optional<MarkedText> changed = InCase(text, name); changed && values.empty()) {
    return TemplateValue{*std::move(changed)};
  }
  return NotSupported(kind, name);
}

absl::StatusOr<TemplateValue> CallOfText(const MarkedText& text, std::string_view name,
                                         const TemplateArguments& arguments) {
  const Given given(arguments);
  if (name.ends_with("strip")) return StripOfText(text, name, given);
  const std::string* const first = given.Text(0);
  if (given.count() == 1 && first != nullptr) {
    if (name == "startswith") return TemplateValue{text.text().starts_with(*first)};
    if (name == "endswith") return TemplateValue{text.text().ends_with(*first)};
    if (name == "split") return Split(text, *first, -1);
  }
  if (given.count() == 2 && name == "split" && first != nullptr && given.Number(1) != nullptr) {
    return Split(text, *first, *given.Number(1));
  }
  return ChangeText(text, "method", name, arguments);
}

absl::StatusOr<TemplateValue> FilterText(const MarkedText& text, std::string_view name,
                                         const TemplateArguments& arguments) {
  if (arguments.values.empty()) {
    if (name == "trim") return TemplateValue{Stripped(text, true, true)};
    if (name == "string") return TemplateValue{text};
    if (name == "tojson") return TemplateValue{AsJson(text)};
    if (name == "length" || name == "count") return TemplateValue{CharacterCount(text.text())};
  }
  return ChangeText(text, "filter", name, arguments);
}

absl::StatusOr<TemplateValue> Joined(const TemplateList& list, const MarkedText& between) {
  MarkedText joined;
  for (size_t i = 0; i < list.size(); ++i) {
    if (i > 0) joined += between;
    ASSIGN_OR_RETURN(const MarkedText text, WrittenOut(list[i]));
    joined += text;
    if (joined.size() > kMaxTemplateText) {
      return absl::ResourceExhaustedError("the chat template writes too much");
    }
  }
  return TemplateValue{std::move(joined)};
}

// Whether the attribute of that name is asked for itself: "a.b" is the b of a, "0" the first.
bool IsPlainAttribute(const TemplateValue& name) {
  constexpr std::string_view kNotPlain = ".0123456789";
  return name.text() != nullptr &&
         name.text()->text().find_first_of(kNotPlain) == std::string::npos;
}

// selectattr("role", "equalto", "system") and its reverse; with a name alone, whether that
// is true.
absl::StatusOr<TemplateValue> WithAttribute(const TemplateList& list,
                                            const TemplateArguments& arguments, bool wanted) {
  TemplateList selected;
  const bool has_test = arguments.values.size() > 1;
  for (const TemplateValue& element : list) {
    ASSIGN_OR_RETURN(const TemplateValue value, MemberOf(element, arguments.values[0]));
    bool holds = IsTrue(value);
    if (has_test) {
      TemplateArguments rest{{arguments.values.begin() + 2, arguments.values.end()}, {}};
      ASSIGN_OR_RETURN(holds, Test(value, arguments.values[1].text()->text(), rest));
    }
    if (holds == wanted) selected.push_back(element);
  }
  return ListValue(std::move(selected));
}

absl::StatusOr<TemplateValue> AttributesOf(const TemplateList& list, const TemplateValue& name) {
  TemplateList values;
  for (const TemplateValue& element : list) {
    ASSIGN_OR_RETURN(TemplateValue value, MemberOf(element, name));
    if (value.list() != nullptr) return NotSupported("filter", "map");
    values.push_back(std::move(value));
  }
  return ListValue(std::move(values));
}

absl::StatusOr<TemplateValue> FilterList(const TemplateList& list, std::string_view name,
                                         const TemplateArguments& arguments) {
  const std::vector<TemplateValue>& values = arguments.values;
  const bool are_texts = std::all_of(values.begin(), values.end(),
                                     [](const auto& value) { return value.text() != nullptr; });
  if (values.empty()) {
    if (name == "length" || name == "count") {
      return TemplateValue{static_cast<int64_t>(list.size())};
    }
    if (name == "first") return list.empty() ? TemplateValue() : list.front();
    if (name == "last") return list.empty() ? TemplateValue() : list.back();
    if (name == "list") return ListValue(list);
    if (name == "reverse") return ListValue(TemplateList(list.rbegin(), list.rend()));
    if (name == "join") return Joined(list, MarkedText());
  }
  if (values.size() == 1 && are_texts && name == "join") return Joined(list, *values[0].text());
  const bool selects = name == "selectattr", rejects = name == "rejectattr";
  if ((selects || rejects) && !values.empty() && IsPlainAttribute(values[0]) &&
      (values.size() == 1 || values[1].text() != nullptr)) {
    return WithAttribute(list, arguments, selects);
  }
  return NotSupported("filter", name);
}

// Numbers, True and False, None.
absl::StatusOr<TemplateValue> FilterPlain(const TemplateValue& target, std::string_view name) {
  ASSIGN_OR_RETURN(const MarkedText written, WrittenOut(target));
  if (name == "string") return TemplateValue{written};
  if (name != "tojson" || target.is_undefined()) return NotSupported("filter", name);
  if (target.is_none()) return TextValue("null");
  if (const bool* const boolean = target.As<bool>()) return TextValue(*boolean ? "true" : "false");
  return TemplateValue{written};
}

}  // namespace

absl::StatusOr<TemplateValue> CallMethod(const TemplateValue& target, std::string_view name,
                                         const TemplateArguments& arguments) {
  const std::vector<TemplateValue>& values = arguments.values;
  if (!AreInPlace(name, arguments.names)) return NotSupported("method", name);
  if (target.text() != nullptr) return CallOfText(*target.text(), name, arguments);
  if (target.object() != nullptr && !target.is_namespace() && name == "get" && !values.empty() &&
      values.size() <= 2 && values[0].text() != nullptr) {
    const auto found = target.object()->find(values[0].text()->text());
    if (found != target.object()->end()) return found->second;
    return values.size() == 2 ? values[1] : TemplateValue{TemplateValue::None{}};
  }
  return NotSupported("method", name);
}

absl::StatusOr<TemplateValue> ApplyFilter(const TemplateValue& target, std::string_view name,
                                          const TemplateArguments& arguments) {
  const std::vector<TemplateValue>& values = arguments.values;
  if (name == "map" && values.size() == 1 && arguments.names[0] == "attribute" &&
      IsPlainAttribute(values[0]) && target.list() != nullptr) {
    return AttributesOf(*target.list(), values[0]);
  }
  if (!AreInPlace(name, arguments.names)) return NotSupported("filter", name);
  if (name == "default" && !values.empty() && values.size() <= 2) {
    const bool also_false = values.size() == 2 && IsTrue(values[1]);
    return target.is_undefined() || (also_false && !IsTrue(target)) ? values[0] : target;
  }
  if (target.text() != nullptr) return FilterText(*target.text(), name, arguments);
  if (target.list() != nullptr) return FilterList(*target.list(), name, arguments);
  if (target.object() == nullptr && values.empty()) return FilterPlain(target, name);
  return NotSupported("filter", name);
}

absl::StatusOr<TemplateValue> MakeRange(const TemplateArguments& arguments) {
  const Given given(arguments);
  const size_t count = given.count();
  int64_t limits[] = {0, 0, 1};  // Begin, end, step.
  const size_t first = count == 1 ? 1 : 0;
  for (size_t i = 0; i < count; ++i) {
    const int64_t* const number = given.Number(i);
    const bool is_sane = number != nullptr && std::abs(*number) <= kMaxTemplateNumber;
    if (count > 3 || !is_sane || !arguments.names[i].empty()) {
      return NotSupported("function", "range");
    }
    limits[first + i] = *number;
  }
  if (count == 0 || limits[2] == 0) return NotSupported("function", "range");
  TemplateList numbers;
  for (int64_t at = limits[0]; limits[2] > 0 ? at < limits[1] : at > limits[1]; at += limits[2]) {
    if (numbers.size() == kMaxTemplateList) {
      return absl::ResourceExhaustedError("the chat template makes too long a list");
    }
    numbers.push_back({at});
  }
  return TemplateValue{
      TemplateValue::Range{std::make_shared<const TemplateList>(std::move(numbers))}};
}

}  // namespace fedtune
