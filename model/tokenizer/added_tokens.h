// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/tokenizer/token_table.h"
#include "nlohmann/json.hpp"

namespace fedtune {

// A token that is found in the text as it stands, before anything is split or
// merged.
struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false;      // Decoding can skip it.
  bool normalized = false;   // Looked for only where no other kind was found.
  bool lstrip = false;       // Takes the white space before it along.
  bool rstrip = false;       // Takes the white space after it along.
  bool single_word = false;  // Not next to a letter, mark, digit or connector.
};

// Finds any of some texts. Thread-safe once all texts are in.
class TextTrie {
 public:
  // `text` is not empty. A text added twice keeps its first number.
  void Add(std::string_view text, size_t number);

  struct Match {
    size_t begin = 0;
    size_t end = 0;
    size_t number = 0;
  };

  // The leftmost match at or after `from`, and of those that begin there the
  // longest.
  std::optional<Match> Find(std::string_view text, size_t from) const;

 private:
  std::optional<Match> LongestAt(std::string_view text, size_t begin) const;

  std::array<bool, 256> first_bytes_{};
  absl::flat_hash_map<uint64_t, uint32_t> children_;  // By node and byte.
  std::vector<std::optional<size_t>> numbers_{{}};    // By node; 0 is the root.
};

// The section "added_tokens" of a tokenizer file. Thread-safe.
class AddedTokens {
 public:
  // `vocabulary` is the model's: a token that is in it must have the same id
  // there, and a token that is not must have an id of its own.
  //
  // INVALID_ARGUMENT: a missing or ill-typed field, an empty token, a token or
  // an id that is taken.
  static absl::StatusOr<AddedTokens> FromJson(const nlohmann::json& section, std::string where,
                                              const TokenTable& vocabulary);

  // Whether Hugging Face's library gives these tokens the same ids. It goes by the order of
  // the list and numbers those that the model does not have from the number of the model's
  // tokens on, whatever the file says. `where` is as above.
  //
  // INVALID_ARGUMENT: another id (says which).
  absl::Status CheckNumbers(std::string_view where, const TokenTable& vocabulary) const;

  // A stretch of the text: an added token, or what lies between two of them.
  struct Piece {
    std::string_view text;
    const AddedToken* token = nullptr;
  };

  // `text` is well-formed UTF-8. No piece without a token is empty.
  std::vector<Piece> Split(std::string_view text) const;

  std::optional<int32_t> Find(std::string_view content) const { return table_.Find(content); }

  // The token with this id, if it is one of these.
  const AddedToken* Token(int64_t id) const;

  // The highest id and one; 0 when there are none.
  int32_t id_end() const { return table_.id_end(); }

 private:
  AddedTokens() = default;
  void SplitPiece(std::string_view text, const TextTrie& trie, std::vector<Piece>& pieces) const;

  std::vector<AddedToken> tokens_;
  TokenTable table_;
  absl::flat_hash_map<int64_t, size_t> by_id_;
  TextTrie plain_;
  TextTrie normalized_;
};

}  // namespace fedtune
