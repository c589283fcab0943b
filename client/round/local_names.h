// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace fedtune {

// What the paths of this machine are called in what leaves it: where an institution
// keeps what is its own affair, and the words for people are its log's.
class LocalNames {
 public:
  struct Name {
    std::filesystem::path path;
    std::string meaning;  // "base model".
  };

  LocalNames() = default;
  explicit LocalNames(std::vector<Name> names);

  // `text` without paths: "<base model>/config.json" for what lies under one that has a
  // name, "<path>" for any other that begins at the root.
  std::string Hide(std::string_view text) const;

 private:
  std::vector<Name> names_;  // The longest path first.
};

}  // namespace fedtune
