// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/chat/template_value.h"

namespace fedtune {

// target.name(arguments): split, strip, lstrip, rstrip, startswith and endswith
// of texts, get of objects, as Python has them. Texts are well-formed UTF-8.
//
// INVALID_ARGUMENT: another one, or other arguments. RESOURCE_EXHAUSTED: split gives
// over 65,536 parts.
absl::StatusOr<TemplateValue> CallMethod(const TemplateValue& target, std::string_view name,
                                         const std::vector<TemplateValue>& arguments);

// target | name(arguments): trim, length, string, first, last, default.
//
// INVALID_ARGUMENT: another one, or not for this value.
absl::StatusOr<TemplateValue> ApplyFilter(const TemplateValue& target, std::string_view name,
                                          const std::vector<TemplateValue>& arguments);

// target is name: defined, undefined, none, string, mapping, iterable, boolean,
// true, false, number.
//
// INVALID_ARGUMENT: another one.
absl::StatusOr<bool> Test(const TemplateValue& target, std::string_view name);

}  // namespace fedtune
