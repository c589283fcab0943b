// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/tokenizer/merge_rules.h"
#include "model/tokenizer/token_table.h"
#include "nlohmann/json.hpp"

namespace fedtune {

// Byte pair encoding (Sennrich et al., 2016) over bytes: a word starts as its
// bytes, and as long as two neighbours have a merge rule, those with the rule
// that stands first in the file become one token. Thread-safe.
class BytePairModel {
 public:
  // Reads the section "model" of a tokenizer file.
  //
  // Where there is neither unk_token nor byte_fallback, rare bytes may have no
  // token (SmolLM2 has none for some control characters): Encode() leaves them out,
  // as Hugging Face's tokenizers do.
  //
  // INVALID_ARGUMENT: another type than BPE, dropout, word affixes, another byte
  // that no token stands for (so unk_token and byte_fallback, which are ignored,
  // never matter), a merge of tokens that are not in the vocabulary, two tokens
  // with one id, an ill-typed field.
  static absl::StatusOr<BytePairModel> FromJson(const nlohmann::json& section, std::string where);

  // Appends the tokens of `word`, at most 1 GiB of any bytes. Takes
  // O(n log n) for a word of n bytes.
  void Encode(std::string_view word, std::vector<int32_t>& ids) const;

  // The vocabulary, its tokens as the file writes them.
  const TokenTable& vocabulary() const { return vocabulary_; }

  // The bytes that a token stands for; the token itself where it is none of
  // the byte alphabet's; nothing if there is no such token.
  std::optional<std::string_view> Bytes(int64_t id) const;

 private:
  BytePairModel() = default;
  absl::Status ReadVocabulary(const nlohmann::json& vocab, const std::string& where);
  absl::Status FindBytes(const std::string& where, bool has_substitute);
  absl::Status ReadMerges(const nlohmann::json& merges, const std::string& where);
  absl::Status AddMerge(std::string_view left, std::string_view right, int64_t rank);
  void FindWholeWords(bool ignore_merges);

  TokenTable vocabulary_;
  std::vector<std::string> bytes_;          // By id; empty in a hole.
  std::array<int32_t, 256> byte_tokens_{};  // The token of each byte, or -1.
  MergeRules rules_;

  // The words that become one token. Most words of a text are among them, so
  // this is the cache of results: complete, of fixed size and never locked.
  TextMap<int32_t> whole_words_;
};

}  // namespace fedtune
