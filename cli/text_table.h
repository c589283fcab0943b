// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <vector>

namespace fedtune {

// Columns for people: as wide as their widest cell, two blanks apart, nothing
// behind the last.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> head);

  // As many cells as the head has.
  void Add(std::vector<std::string> row);

  std::string ToString() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace fedtune
