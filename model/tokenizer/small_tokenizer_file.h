// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>

#include "fmt/format.h"
#include "model/tokenizer/byte_alphabet.h"
#include "nlohmann/json.hpp"

namespace fedtune::testing {

// A tokenizer file whose vocabulary is the 256 bytes, by their number, and
// "ab" as 256, "abc" as 257 and " a" as 258. Tests change it and dump it.
inline nlohmann::json SmallTokenizerFile() {
  nlohmann::json vocab;
  for (int byte = 0; byte < 256; ++byte) {
    vocab[TokenOfBytes(std::string(1, static_cast<char>(byte)))] = byte;
  }
  vocab["ab"] = 256;
  vocab["abc"] = 257;
  vocab["\u0120a"] = 258;
  return {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", nlohmann::json::array()},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
      {"post_processor", nullptr},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"a b", "ab c", "\u0120 a"}}}}};
}

// An entry of "added_tokens" with all flags off.
inline nlohmann::json AddedTokenEntry(int id, std::string_view content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", false}};
}

// A "post_processor" that puts a mark before a text, as that of Llama 3.
inline nlohmann::json BeginMarkProcessor(int id, std::string_view mark) {
  return {{"type", "TemplateProcessing"},
          {"single",
           {{{"SpecialToken", {{"id", mark}, {"type_id", 0}}}},
            {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
          {"pair", nlohmann::json::array()},
          {"special_tokens", {{mark, {{"id", mark}, {"ids", {id}}, {"tokens", {mark}}}}}}};
}

}  // namespace fedtune::testing
