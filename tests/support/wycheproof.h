// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "base/check.h"
#include "nlohmann/json.hpp"
#include "tests/support/hex.h"

namespace fedtune::testing {

// The vectors of project Wycheproof, which are not part of the repository.
inline std::filesystem::path WycheproofDirectory() { return "../shared/data/wycheproof"; }

inline std::vector<uint8_t> HexOf(const nlohmann::json& test, const char* key) {
  return FromHex(test.at(key).get<std::string>());
}

// Calls `check(group, test)` for every test of the file; how many there were is
// compared with what the file says of itself.
inline int ForEachWycheproofTest(
    const std::string& file,
    const std::function<void(const nlohmann::json&, const nlohmann::json&)>& check) {
  std::ifstream input(WycheproofDirectory() / file);
  const nlohmann::json document = nlohmann::json::parse(input);
  int count = 0;
  for (const auto& group : document.at("testGroups")) {
    for (const auto& test : group.at("tests")) {
      check(group, test);
      ++count;
    }
  }
  Check(count == document.at("numberOfTests").get<int>(), "all of the file's tests are run");
  return count;
}

}  // namespace fedtune::testing
