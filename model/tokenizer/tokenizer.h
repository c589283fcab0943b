// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/byte_pair_model.h"
#include "model/tokenizer/pre_tokenizer.h"

namespace fedtune {

// Turns text into the tokens of one model and back: a byte-level tokenizer as
// DeepSeek's models have it, read from the file `tokenizer.json` of a Hugging
// Face checkpoint. It gives the tokens that Hugging Face's library gives, and
// refuses a file that asks for something it does not know.
//
//   ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::Load(folder / "tokenizer.json"));
//   ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer.Encode("Heart failure:"));
//
// Characters are those of Unicode 16, as in Hugging Face's library. The one known
// difference: where an expression of the file names them otherwise than by the short
// name of a general category (\w, \p{Han}), those younger than Unicode 14 are left out.
//
// The file's sections "truncation" and "padding" are not applied, nor is its
// "post_processor": whoever wants a begin or an end mark puts it there, see
// SpecialTokens. Movable. Const methods are thread-safe.
class Tokenizer {
 public:
  // `source` names the text in messages.
  //
  // INVALID_ARGUMENT: not JSON, a missing or ill-typed field, or something that
  // is not supported; says which and where.
  static absl::StatusOr<Tokenizer> FromJson(std::string_view json, std::string_view source);

  // Also NOT_FOUND, PERMISSION_DENIED.
  static absl::StatusOr<Tokenizer> Load(const std::filesystem::path& tokenizer_json);

  // The tokens of `utf8`. Added tokens such as "<｜User｜>" are recognised in it;
  // none is put before or after it.
  //
  // INVALID_ARGUMENT: not UTF-8 (says at which byte), or over 1 GiB.
  // RESOURCE_EXHAUSTED: an expression of the file tries too many ways to match.
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view utf8) const;

  // The same, with the byte of `utf8` at which each token ends: exact unless the
  // file removes text or puts a space before words.
  struct EncodedText {
    std::vector<int32_t> ids;
    std::vector<size_t> ends;  // One for each id, never falling.
  };
  absl::StatusOr<EncodedText> EncodeWithEnds(std::string_view utf8) const;

  // The token that the file lists with this id under "added_tokens", as it does marks; null
  // if there is none.
  const AddedToken* Added(int32_t id) const { return added_.Token(id); }
  bool IsAddedToken(int32_t id) const { return Added(id) != nullptr; }

  // The text of `ids`, without that of special tokens if `skip_special`. Ids
  // that are no token are left out: models have more rows than tokens. Tokens
  // can end inside a character; what does not make one up becomes U+FFFD. Added tokens are
  // as they stand, where Hugging Face's library takes their letters for bytes: DeepSeek-V2
  // has added "\u00FC", which it decodes to U+FFFD.
  std::string Decode(std::span<const int32_t> ids, bool skip_special) const;

  // The highest id and one: the rows that a model must have at least.
  int32_t vocabulary_size() const;

  // What the file's "post_processor" puts before a text.
  const std::vector<int32_t>& tokens_before_text() const { return before_text_; }

  // The id of a token as the file writes it ("\u0120the", "<｜User｜>").
  std::optional<int32_t> TokenId(std::string_view token) const;

 private:
  absl::Status Encode(std::string_view utf8, std::vector<int32_t>& ids,
                      std::vector<size_t>* ends) const;
  void AppendEnds(std::string_view text, std::string_view word, std::span<const int32_t> ids,
                  std::vector<size_t>& ends) const;

  Tokenizer(AddedTokens added, PreTokenizer pre_tokenizer, BytePairModel model,
            std::vector<int32_t> before_text);

  AddedTokens added_;
  PreTokenizer pre_tokenizer_;
  BytePairModel model_;
  std::vector<int32_t> before_text_;
};

}  // namespace fedtune
