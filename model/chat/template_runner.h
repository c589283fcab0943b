// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/chat/marked_text.h"
#include "model/chat/template_tree.h"
#include "model/chat/template_value.h"

namespace fedtune {

// Runs a template with these variables and returns what it writes. It can do
// nothing else: it reads no file and calls nothing of the system.
//
// INVALID_ARGUMENT: the template itself refuses, or does what is not supported
// (says in which line). RESOURCE_EXHAUSTED: it takes over a million steps,
// writes over 64 MiB (what macros that call each other have written counts together), or handles
// over 1 GiB of text (whatever is copied, compared or written counts, each time).
absl::StatusOr<MarkedText> RunTemplate(const std::vector<TemplateStatement>& statements,
                                       TemplateObject variables);

}  // namespace fedtune
