// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/chat/template_value.h"

namespace fedtune {

// What a method, filter or test is given.
struct TemplateArguments {
  std::vector<TemplateValue> values;
  std::vector<std::string> names;  // One for each; empty where it has none.
};

// target.name(arguments): split, strip, lstrip, rstrip, startswith, endswith, upper,
// lower, capitalize, title and replace of texts, get of objects, as Python has them.
// Texts are well-formed UTF-8.
//
// INVALID_ARGUMENT: another one, or other arguments; the case of text that is not ASCII, a
// title of more than a word, over 128 characters to strip. RESOURCE_EXHAUSTED: split gives over
// 65,536 parts, or text becomes longer than 64 MiB.
absl::StatusOr<TemplateValue> CallMethod(const TemplateValue& target, std::string_view name,
                                         const TemplateArguments& arguments);

// target | name(arguments): trim, length, string, first, last, default, join, list,
// reverse, upper, lower, capitalize, title, replace, selectattr, rejectattr, map of
// attributes, tojson. What selectattr, rejectattr, map and reverse give is a list; Jinja's is
// lazy, so that not all may be done with it (see TemplateMachine::Evaluate()).
//
// INVALID_ARGUMENT: another one, or not for this value. RESOURCE_EXHAUSTED: see CallMethod().
absl::StatusOr<TemplateValue> ApplyFilter(const TemplateValue& target, std::string_view name,
                                          const TemplateArguments& arguments);

// target is name(arguments): defined, undefined, none, string, mapping, iterable, sequence,
// boolean, true, false, number, integer, in, equalto, eq, ne, odd, even, divisibleby.
//
// INVALID_ARGUMENT: another one.
absl::StatusOr<bool> Test(const TemplateValue& target, std::string_view name,
                          const TemplateArguments& arguments);

// range(end), range(begin, end), range(begin, end, step).
//
// INVALID_ARGUMENT: other arguments. RESOURCE_EXHAUSTED: over 65,536 numbers.
absl::StatusOr<TemplateValue> MakeRange(const TemplateArguments& arguments);

}  // namespace fedtune
