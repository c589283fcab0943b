// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "model/chat/marked_text.h"

namespace fedtune {

// How long a text and a list may become, and what is calculated with.
inline constexpr size_t kMaxTemplateText = size_t{64} << 20;
inline constexpr size_t kMaxTemplateList = size_t{1} << 16;
inline constexpr int64_t kMaxTemplateNumber = int64_t{1} << 31;

struct TemplateValue;
using TemplateList = std::vector<TemplateValue>;
using TemplateObject = std::map<std::string, TemplateValue, std::less<>>;

// What an expression of a template gives. Lists and objects are shared, not copied.
struct TemplateValue {
  struct Undefined {};
  struct None {};
  using List = std::shared_ptr<const TemplateList>;
  struct Tuple {
    List elements;
  };
  struct Range {
    List elements;
  };
  using Object = std::shared_ptr<const TemplateObject>;
  using Namespace = std::shared_ptr<TemplateObject>;

  std::variant<Undefined, None, bool, int64_t, MarkedText, List, Tuple, Range, Object, Namespace>
      is = Undefined{};

  template <typename Kind>
  const Kind* As() const {
    return std::get_if<Kind>(&is);
  }
  const MarkedText* text() const { return As<MarkedText>(); }
  const TemplateList* list() const;      // Also of a tuple or a range.
  const TemplateObject* object() const;  // Also of a namespace.
  bool is_undefined() const { return As<Undefined>() != nullptr; }
  bool is_none() const { return As<None>() != nullptr; }
  bool is_namespace() const { return As<Namespace>() != nullptr; }
};

TemplateValue TextValue(std::string text);
TemplateValue ListValue(TemplateList list);
TemplateValue ObjectValue(TemplateObject object);

// What Python's bool() says: a namespace is true.
bool IsTrue(const TemplateValue& value);

// What Python's == says: true is 1, and otherwise things of different kinds differ, as a list and
// a tuple; a namespace is equal to itself alone.
bool AreEqual(const TemplateValue& left, const TemplateValue& right);

// As Jinja writes it out.
//
// INVALID_ARGUMENT: a list or an object.
absl::StatusOr<MarkedText> WrittenOut(const TemplateValue& value);

// `target[name]` or `target[number]`; undefined if there is none.
//
// INVALID_ARGUMENT: `target` is undefined, or `member` neither text nor a number; a
// character of text that is not ASCII; there is none, but a method (IsMethod()), which is no
// value here.
absl::StatusOr<TemplateValue> MemberOf(const TemplateValue& target, const TemplateValue& member);

// `target.name`, for which a method comes before a member. Errors as MemberOf().
absl::StatusOr<TemplateValue> AttributeOf(const TemplateValue& target, const TemplateValue& name);

// What stands between brackets, each of it maybe undefined.
struct SliceLimits {
  TemplateValue begin;
  TemplateValue end;
  TemplateValue step;
};

// `target[begin:end:step]`.
//
// INVALID_ARGUMENT: neither a text of ASCII nor a list, a limit is no number, or a step
// other than 1 and -1, or of text.
absl::StatusOr<TemplateValue> SliceOf(const TemplateValue& target, const SliceLimits& limits);

// `left sign right` for +, -, ~, %, *, //, in and comparisons. Texts have at most
// 64 MiB, lists 65,536 elements.
//
// INVALID_ARGUMENT: not for these values. RESOURCE_EXHAUSTED: text is too long.
absl::StatusOr<TemplateValue> Combine(std::string_view sign, const TemplateValue& left,
                                      const TemplateValue& right);

}  // namespace fedtune
