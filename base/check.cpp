// SPDX-License-Identifier: Apache-2.0

#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace fedtune {

void Check(bool condition, std::string_view what, std::source_location where) {
  if (condition) return;
  std::fprintf(stderr, "%s:%u: broken invariant: %.*s\n", where.file_name(),
               static_cast<unsigned>(where.line()), static_cast<int>(what.size()), what.data());
  std::abort();
}

}  // namespace fedtune
