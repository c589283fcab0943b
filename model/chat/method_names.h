// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string_view>

#include "model/chat/template_value.h"

namespace fedtune {

// Whether `name` is what Python, or Jinja of a loop, has as a method or another attribute of a
// value of that kind: as a value it is true and no member that is missing.
bool IsMethod(const TemplateValue& value, std::string_view name);

}  // namespace fedtune
