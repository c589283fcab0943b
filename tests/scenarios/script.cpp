// SPDX-License-Identifier: Apache-2.0

#include "tests/scenarios/script.h"

#include <sstream>
#include <utility>

namespace fedtune::testing {
namespace {

constexpr std::string_view kDashes = "----";

std::vector<std::string> Lines(std::string_view text) {
  std::vector<std::string> lines;
  std::istringstream in{std::string(text)};
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

}  // namespace

std::vector<Block> ParseScript(std::string_view text) {
  std::vector<Block> blocks;
  Block block;
  bool in_expected = false;
  for (const std::string& line : Lines(text)) {
    if (!in_expected && line == kDashes) {
      in_expected = true;
    } else if (!in_expected) {
      block.input.push_back(line);
    } else if (!line.empty()) {
      block.expected.push_back(line);
    } else {
      blocks.push_back(std::exchange(block, {}));
      in_expected = false;
    }
  }
  if (in_expected || !block.input.empty()) blocks.push_back(block);
  return blocks;
}

std::string ToText(const std::vector<Block>& blocks) {
  std::string text;
  for (const Block& block : blocks) {
    if (!text.empty()) text += '\n';
    for (const std::string& line : block.input) text += line + '\n';
    text += kDashes;
    text += '\n';
    for (const std::string& line : block.expected) text += line + '\n';
  }
  return text;
}

std::string Command::Setting(std::string_view key, std::string_view otherwise) const {
  for (const auto& [name, value] : settings) {
    if (name == key) return value;
  }
  return std::string(otherwise);
}

std::string Command::Text(size_t first) const {
  std::string text;
  for (size_t i = first; i < words.size(); ++i) text += (i > first ? " " : "") + words[i];
  return text;
}

Command ParseCommand(std::string_view line) {
  Command command;
  if (line.starts_with('#')) return command;
  std::istringstream in{std::string(line)};
  in >> command.verb;
  for (std::string word; in >> word;) {
    const size_t equals = word.find('=');
    if (equals == std::string::npos) {
      command.words.push_back(word);
    } else {
      command.settings.emplace_back(word.substr(0, equals), word.substr(equals + 1));
    }
  }
  return command;
}

}  // namespace fedtune::testing
