// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fedtune::testing {

// A scenario is a text of blocks, each of comments and commands, a line of four
// dashes, what the commands are expected to print, and an empty line:
//
//   # helios does not come back.
//   disconnect helios
//   advance 1h
//   ----
//   release 0.1: B of 2 contributions
//
struct Block {
  std::vector<std::string> input;  // Commands, comments and empty lines, as they stand.
  std::vector<std::string> expected;
};

std::vector<Block> ParseScript(std::string_view text);

// ParseScript(ToText(blocks)) gives the blocks again.
std::string ToText(const std::vector<Block>& blocks);

// "contribute charite uke loss=1.5": a verb, its words, and its settings.
struct Command {
  std::string verb;
  std::vector<std::string> words;
  std::vector<std::pair<std::string, std::string>> settings;

  // The setting's value, or `otherwise`.
  std::string Setting(std::string_view key, std::string_view otherwise) const;

  // All words from `first` on, with blanks between them.
  std::string Text(size_t first) const;
};

// An empty verb for a comment or an empty line.
Command ParseCommand(std::string_view line);

}  // namespace fedtune::testing
