// SPDX-License-Identifier: Apache-2.0

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/json.h"
#include "model/tokenizer/small_tokenizer_file.h"
#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/utf8.h"

namespace {

// The steps of DeepSeek-V3.
constexpr std::string_view kSteps = R"json({"type": "Sequence", "pretokenizers": [
  {"type": "Split", "pattern": {"Regex": "\\p{N}{1,3}"}, "behavior": "Isolated"},
  {"type": "Split", "pattern": {"Regex": "[一-龥぀-ゟ゠-ヿ]+"}, "behavior": "Isolated"},
  {"type": "Split", "pattern": {"Regex": "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"},
   "behavior": "Isolated"},
  {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})json";

fedtune::Tokenizer Make() {
  nlohmann::json file = fedtune::testing::SmallTokenizerFile();
  file["pre_tokenizer"] = fedtune::ParseJson(kSteps, "steps").value();
  file["added_tokens"] = {fedtune::testing::AddedTokenEntry(259, "<x>"),
                          fedtune::testing::AddedTokenEntry(260, "<x><y>")};
  file["added_tokens"][1]["normalized"] = true;
  return fedtune::Tokenizer::FromJson(file.dump(), "tokenizer.json").value();
}

}  // namespace

// Well-formed text comes back as it was; other text is refused.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fedtune::Tokenizer tokenizer = Make();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto ids = tokenizer.Encode(text);
  fedtune::Check(ids.ok() == !fedtune::FindInvalidUtf8(text).has_value(), "UTF-8 or not");
  if (ids.ok()) {
    fedtune::Check(tokenizer.Decode(*ids, /*skip_special=*/false) == text, "text changed");
  }
  return 0;
}
