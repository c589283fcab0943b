// SPDX-License-Identifier: Apache-2.0

#include "model/chat/template_value.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/chat/method_names.h"
#include "model/chat/text_functions.h"

namespace fedtune {
namespace {

absl::Status Wrong(const std::string& what) { return absl::InvalidArgumentError(what); }

absl::StatusOr<TemplateValue> Join(MarkedText left, const MarkedText& right) {
  if (left.size() + right.size() > kMaxTemplateText) {
    return absl::ResourceExhaustedError("the chat template writes too much");
  }
  left += right;
  return TemplateValue{std::move(left)};
}

absl::StatusOr<TemplateValue> Calculate(std::string_view sign, int64_t left, int64_t right) {
  if (std::abs(left) > kMaxTemplateNumber || std::abs(right) > kMaxTemplateNumber)
    return Wrong("a number is too large");
  if (sign == "+") return TemplateValue{left + right};
  if (sign == "-") return TemplateValue{left - right};
  if (sign == "*") return TemplateValue{left * right};
  if (right == 0) return Wrong("a division by zero");
  const int64_t rest = left % right;
  const bool down = rest != 0 && (rest < 0) != (right < 0);
  if (sign == "%") return TemplateValue{down ? rest + right : rest};
  return TemplateValue{left / right - (down ? 1 : 0)};
}

absl::Status RefuseMethod(const TemplateValue& target, std::string_view name) {
  if (!IsMethod(target, name)) return absl::OkStatus();
  return Wrong(fmt::format("method \"{}\" is not supported as a value", name));
}

absl::StatusOr<bool> IsIn(const TemplateValue& what, const TemplateValue& where) {
  if (const TemplateList* list = where.list()) {
    return std::any_of(list->begin(), list->end(),
                       [&](const TemplateValue& one) { return AreEqual(one, what); });
  }
  if (what.text() != nullptr && where.text() != nullptr) {
    return FindPart(where.text()->text(), what.text()->text()) != std::string::npos;
  }
  if (what.text() != nullptr && where.object() != nullptr && !where.is_namespace()) {
    return where.object()->contains(what.text()->text());
  }
  return Wrong("\"in\" is not for these values");
}

absl::StatusOr<bool> Compare(std::string_view sign, const TemplateValue& left,
                             const TemplateValue& right) {
  const int64_t* const a = left.As<int64_t>();
  const int64_t* const b = right.As<int64_t>();
  if (a == nullptr || b == nullptr) return Wrong(fmt::format("\"{}\" is only for numbers", sign));
  if (sign == "<") return *a < *b;
  if (sign == ">") return *a > *b;
  return sign == "<=" ? *a <= *b : *a >= *b;
}

// A limit of a slice as Python takes it.
absl::StatusOr<size_t> Limit(const TemplateValue& limit, size_t size, size_t otherwise) {
  if (limit.is_undefined() || limit.is_none()) return otherwise;
  const int64_t* const number = limit.As<int64_t>();
  if (number == nullptr) return Wrong("a slice's limit is no number");
  const auto end = static_cast<int64_t>(size);
  return static_cast<size_t>(std::clamp<int64_t>(*number < 0 ? *number + end : *number, 0, end));
}

// In Python true is 1, and false 0.
std::optional<int64_t> NumberOf(const TemplateValue& value) {
  if (const bool* const boolean = value.As<bool>()) return *boolean ? 1 : 0;
  const int64_t* const number = value.As<int64_t>();
  return number == nullptr ? std::nullopt : std::optional(*number);
}

// Objects of the same texts and numbers are equal; others only to themselves.
bool AreSame(const TemplateObject& left, const TemplateObject& right) {
  if (&left == &right) return true;
  return std::equal(
      left.begin(), left.end(), right.begin(), right.end(), [](const auto& a, const auto& b) {
        const bool is_plain = a.second.list() == nullptr && a.second.object() == nullptr;
        return a.first == b.first && is_plain && AreEqual(a.second, b.second);
      });
}

absl::StatusOr<TemplateValue> Chain(TemplateList left, const TemplateList& right) {
  if (left.size() + right.size() > kMaxTemplateList) {
    return absl::ResourceExhaustedError("the chat template makes too long a list");
  }
  left.insert(left.end(), right.begin(), right.end());
  return ListValue(std::move(left));
}

// A list, a tuple or a range, as `row` is one.
TemplateValue RowLike(const TemplateValue& row, TemplateList elements) {
  auto shared = std::make_shared<const TemplateList>(std::move(elements));
  if (row.As<TemplateValue::Tuple>() != nullptr) return {TemplateValue::Tuple{std::move(shared)}};
  if (row.As<TemplateValue::Range>() != nullptr) return {TemplateValue::Range{std::move(shared)}};
  return {std::move(shared)};
}

// The elements from the last one to the first, as [::-1] has them.
absl::StatusOr<TemplateValue> Reversed(const TemplateValue& target, const SliceLimits& limits) {
  const bool is_whole = limits.begin.is_undefined() && limits.end.is_undefined();
  if (target.list() == nullptr || !is_whole) {
    return Wrong("a step of -1 is only for whole lists");
  }
  return RowLike(target, TemplateList(target.list()->rbegin(), target.list()->rend()));
}

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<uint8_t>(c) < 0x80; });
}

}  // namespace

const TemplateList* TemplateValue::list() const {
  if (const auto* const tuple = As<Tuple>()) return tuple->elements.get();
  if (const auto* const range = As<Range>()) return range->elements.get();
  const auto* const list = As<List>();
  return list == nullptr ? nullptr : list->get();
}

const TemplateObject* TemplateValue::object() const {
  if (const auto* const space = As<Namespace>()) return space->get();
  const auto* const object = As<Object>();
  return object == nullptr ? nullptr : object->get();
}

TemplateValue TextValue(std::string text) { return {MarkedText(std::move(text))}; }
TemplateValue ListValue(TemplateList list) {
  return {std::make_shared<const TemplateList>(std::move(list))};
}
TemplateValue ObjectValue(TemplateObject object) {
  return {std::make_shared<const TemplateObject>(std::move(object))};
}

bool IsTrue(const TemplateValue& value) {
  if (const bool* const boolean = value.As<bool>()) return *boolean;
  if (const int64_t* const number = value.As<int64_t>()) return *number != 0;
  if (const MarkedText* const text = value.text()) return text->size() > 0;
  if (const TemplateList* const list = value.list()) return !list->empty();
  if (value.is_namespace()) return true;
  if (const TemplateObject* const object = value.object()) return !object->empty();
  return false;
}

bool AreEqual(const TemplateValue& left, const TemplateValue& right) {
  if (const std::optional<int64_t> number = NumberOf(left)) return number == NumberOf(right);
  if (left.is.index() != right.is.index()) return false;
  if (const MarkedText* const text = left.text()) return text->text() == right.text()->text();
  if (const TemplateList* const list = left.list()) {
    return std::equal(list->begin(), list->end(), right.list()->begin(), right.list()->end(),
                      AreEqual);
  }
  if (left.is_namespace()) return left.object() == right.object();
  if (left.object() != nullptr) return AreSame(*left.object(), *right.object());
  return true;
}

absl::StatusOr<MarkedText> WrittenOut(const TemplateValue& value) {
  if (const MarkedText* const text = value.text()) return *text;
  if (value.is_undefined()) return MarkedText();
  if (value.is_none()) return MarkedText("None");
  if (const bool* const boolean = value.As<bool>()) return MarkedText(*boolean ? "True" : "False");
  if (const int64_t* const number = value.As<int64_t>()) return MarkedText(std::to_string(*number));
  return Wrong("a list or an object is written out");
}

absl::StatusOr<TemplateValue> MemberOf(const TemplateValue& target, const TemplateValue& member) {
  if (target.is_undefined()) return Wrong("something is asked of what is not there");
  if (const MarkedText* const name = member.text()) {
    if (target.object() != nullptr) {
      const auto found = target.object()->find(name->text());
      if (found != target.object()->end()) return found->second;
    }
    RETURN_IF_ERROR(RefuseMethod(target, name->text()));
    return TemplateValue();
  }
  const int64_t* const number = member.As<int64_t>();
  if (number == nullptr) return Wrong("a member is neither a name nor a number");
  const MarkedText* const text = target.text();
  if (text == nullptr && target.list() == nullptr) return TemplateValue();
  if (text != nullptr && !IsAscii(text->text())) {
    return Wrong("a character of text that is not ASCII");
  }
  const auto size = static_cast<int64_t>(text != nullptr ? text->size() : target.list()->size());
  const int64_t at = *number < 0 ? *number + size : *number;
  if (at < 0 || at >= size) return TemplateValue();
  const auto place = static_cast<size_t>(at);
  return text != nullptr ? TemplateValue{text->Part(place, 1)} : (*target.list())[place];
}

absl::StatusOr<TemplateValue> AttributeOf(const TemplateValue& target, const TemplateValue& name) {
  RETURN_IF_ERROR(RefuseMethod(target, name.text()->text()));
  return MemberOf(target, name);
}

absl::StatusOr<TemplateValue> SliceOf(const TemplateValue& target, const SliceLimits& limits) {
  const int64_t* const step = limits.step.As<int64_t>();
  if (step != nullptr && *step == -1) return Reversed(target, limits);
  const bool is_plain = limits.step.is_undefined() || limits.step.is_none();
  if (!is_plain && (step == nullptr || *step != 1)) return Wrong("a slice's step is not 1 or -1");
  const MarkedText* const text = target.text();
  if (text != nullptr && !IsAscii(text->text())) return Wrong("a slice of text that is not ASCII");
  if (text == nullptr && target.list() == nullptr) return Wrong("a slice of neither text nor list");
  const size_t size = text != nullptr ? text->size() : target.list()->size();
  ASSIGN_OR_RETURN(const size_t from, Limit(limits.begin, size, 0));
  ASSIGN_OR_RETURN(const size_t to, Limit(limits.end, size, size));
  if (text != nullptr) {
    return TemplateValue{text->Part(std::min(from, to), std::max(from, to) - from)};
  }
  const TemplateList& list = *target.list();
  if (from >= to) return RowLike(target, {});
  return RowLike(target, TemplateList(list.begin() + static_cast<ptrdiff_t>(from),
                                      list.begin() + static_cast<ptrdiff_t>(to)));
}

absl::StatusOr<TemplateValue> Combine(std::string_view sign, const TemplateValue& left,
                                      const TemplateValue& right) {
  if (sign == "==") return TemplateValue{AreEqual(left, right)};
  if (sign == "!=") return TemplateValue{!AreEqual(left, right)};
  if (sign == "in") {
    ASSIGN_OR_RETURN(const bool is_in, IsIn(left, right));
    return TemplateValue{is_in};
  }
  if (sign[0] == '<' || sign[0] == '>') {
    ASSIGN_OR_RETURN(const bool holds, Compare(sign, left, right));
    return TemplateValue{holds};
  }
  if (sign == "~") {
    ASSIGN_OR_RETURN(MarkedText first, WrittenOut(left));
    ASSIGN_OR_RETURN(const MarkedText second, WrittenOut(right));
    return Join(std::move(first), second);
  }
  if (sign == "+" && left.text() != nullptr && right.text() != nullptr) {
    return Join(*left.text(), *right.text());
  }
  const auto* const list = left.As<TemplateValue::List>();
  if (sign == "+" && list != nullptr && right.As<TemplateValue::List>() != nullptr) {
    return Chain(**list, *right.list());
  }
  const int64_t* const a = left.As<int64_t>();
  const int64_t* const b = right.As<int64_t>();
  if (a != nullptr && b != nullptr) return Calculate(sign, *a, *b);
  return Wrong(fmt::format("\"{}\" is not for these values", sign));
}

}  // namespace fedtune
