// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace fedtune::testing {

// The TOML files that stand as examples in a page of docs/, in its order. Requires:
// the process runs in the repository's root, as tests do.
inline std::vector<std::string> DocumentedExamples(const std::string& page) {
  std::vector<std::string> examples;
  std::ifstream file(page);
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line == "```toml") examples.emplace_back();
    inside = line == "```toml" || (inside && line != "```");
    if (inside && line != "```toml") examples.back() += line + "\n";
  }
  return examples;
}

}  // namespace fedtune::testing
