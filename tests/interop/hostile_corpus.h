// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <vector>

namespace fedtune {

// Texts on which byte-level tokenizers go wrong, made by the rules of
// hostile_corpus.py, which has the words on each group.
struct TextGroup {
  std::string name;
  std::vector<std::string> texts;
};

// `added` are the tokenizer's added tokens by their ids.
std::vector<TextGroup> HostileTexts(const std::vector<std::string>& added);

// Bytes of which most are not UTF-8.
std::vector<std::string> BrokenBytes();

}  // namespace fedtune
