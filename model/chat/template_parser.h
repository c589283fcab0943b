// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/chat/template_tree.h"

namespace fedtune {

// Reads a template of the part of Jinja that chat templates are written in: if,
// for, set, macro, break, continue, expressions. Nothing is called but what template_functions.h
// has.
//
// INVALID_ARGUMENT: longer than 256 KiB, nested too deeply, or something that is
// not Jinja or not in that part of it (says in which line).
absl::StatusOr<std::vector<TemplateStatement>> ParseTemplate(std::string_view source);

}  // namespace fedtune
