// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string_view>

namespace fedtune {

// Ends the process with `what` and the caller's place if `condition` is false.
// For our own broken invariants only: bytes from outside become an
// absl::Status.
void Check(bool condition, std::string_view what, const char* file = __builtin_FILE(),
           int line = __builtin_LINE());

}  // namespace fedtune
