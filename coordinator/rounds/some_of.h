// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <vector>

#include "fmt/format.h"
#include "fmt/ranges.h"

namespace fedtune {

// The first few of these with `separator` between them, and how many others there are:
// what people are told of many clients is stored, and sent to every one of them.
template <typename Text>
std::string SomeOf(std::vector<Text> all, const char* separator) {
  constexpr size_t kMost = 20;
  const size_t others = all.size() > kMost ? all.size() - kMost : 0;
  all.resize(all.size() - others);
  std::string text = fmt::format("{}", fmt::join(all, separator));
  return others == 0 ? text : fmt::format("{}{}and {} others", text, separator, others);
}

}  // namespace fedtune
