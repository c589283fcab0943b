// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/added_tokens.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/tokenizer/characters.h"
#include "model/tokenizer/json_fields.h"
#include "model/tokenizer/utf8.h"

namespace fedtune {
namespace {

bool IsSpace(uint32_t code_point) { return KindOf(code_point) == CharacterKind::kSpace; }

bool StandsAlone(std::string_view text, size_t begin, size_t end) {
  const bool word_before = begin > 0 && IsWordCharacter(LastCodePoint(text.substr(0, begin)).value);
  const bool word_after =
      end < text.size() && IsWordCharacter(FirstCodePoint(text.substr(end)).value);
  return !word_before && !word_after;
}

// Where the white space that ends at `begin` begins, but not before `limit`.
size_t SkipSpaceBackwards(std::string_view text, size_t begin, size_t limit) {
  while (begin > limit) {
    const CodePoint last = LastCodePoint(text.substr(0, begin));
    if (!IsSpace(last.value)) break;
    begin -= last.length;
  }
  return std::max(begin, limit);
}

// Where the white space that begins at `end` ends.
size_t SkipSpace(std::string_view text, size_t end) {
  while (end < text.size()) {
    const CodePoint next = FirstCodePoint(text.substr(end));
    if (!IsSpace(next.value)) break;
    end += next.length;
  }
  return end;
}

uint64_t ChildKey(uint32_t node, char byte) {
  return static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(byte);
}

absl::StatusOr<AddedToken> ParseToken(const nlohmann::json& value, std::string where) {
  ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Of(value, std::move(where)));
  AddedToken token;
  ASSIGN_OR_RETURN(token.content, fields.String("content"));
  ASSIGN_OR_RETURN(token.special, fields.Bool("special"));
  ASSIGN_OR_RETURN(token.normalized, fields.Bool("normalized"));
  ASSIGN_OR_RETURN(token.lstrip, fields.Bool("lstrip"));
  ASSIGN_OR_RETURN(token.rstrip, fields.Bool("rstrip"));
  ASSIGN_OR_RETURN(token.single_word, fields.Bool("single_word"));
  ASSIGN_OR_RETURN(const int64_t id, fields.Integer("id"));
  if (token.content.empty()) {
    return absl::InvalidArgumentError(fmt::format("{}: \"content\" is empty", fields.where()));
  }
  if (id < 0 || id >= kMaxTokenIds) {
    return absl::InvalidArgumentError(
        fmt::format("{}: id {} is not between 0 and {}", fields.where(), id, kMaxTokenIds - 1));
  }
  token.id = static_cast<int32_t>(id);
  return token;
}

// Whether the model's vocabulary agrees to `token` having its id.
absl::Status CheckAgainst(const TokenTable& vocabulary, const AddedToken& token) {
  const std::optional<int32_t> model_id = vocabulary.Find(token.content);
  if (model_id == token.id) return absl::OkStatus();
  if (model_id.has_value()) {
    return absl::InvalidArgumentError(fmt::format("token \"{}\" has id {} here and {} in the model",
                                                  token.content, token.id, *model_id));
  }
  if (const std::optional<std::string_view> other = vocabulary.Token(token.id)) {
    return absl::InvalidArgumentError(
        fmt::format("token \"{}\" has id {}, which is that of \"{}\" in the model", token.content,
                    token.id, *other));
  }
  return absl::OkStatus();
}

}  // namespace

void TextTrie::Add(std::string_view text, size_t number) {
  first_bytes_[static_cast<uint8_t>(text[0])] = true;
  uint32_t node = 0;
  for (const char byte : text) {
    const auto fresh = static_cast<uint32_t>(numbers_.size());
    const auto [child, is_new] = children_.try_emplace(ChildKey(node, byte), fresh);
    node = child->second;
    if (is_new) numbers_.emplace_back();
  }
  if (!numbers_[node].has_value()) numbers_[node] = number;
}

std::optional<TextTrie::Match> TextTrie::LongestAt(std::string_view text, size_t begin) const {
  std::optional<Match> longest;
  uint32_t node = 0;
  for (size_t at = begin; at < text.size(); ++at) {
    const auto child = children_.find(ChildKey(node, text[at]));
    if (child == children_.end()) break;
    node = child->second;
    if (numbers_[node].has_value()) longest = Match{begin, at + 1, *numbers_[node]};
  }
  return longest;
}

std::optional<TextTrie::Match> TextTrie::Find(std::string_view text, size_t from) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!first_bytes_[static_cast<uint8_t>(text[begin])]) continue;
    if (const std::optional<Match> match = LongestAt(text, begin)) return match;
  }
  return std::nullopt;
}

absl::StatusOr<AddedTokens> AddedTokens::FromJson(const nlohmann::json& section, std::string where,
                                                  const TokenTable& vocabulary) {
  AddedTokens result;
  if (section.is_null()) return result;
  if (!section.is_array()) {
    return absl::InvalidArgumentError(fmt::format("{}: must be a list", where));
  }
  for (size_t i = 0; i < section.size(); ++i) {
    const std::string place = fmt::format("{}[{}]", where, i);
    ASSIGN_OR_RETURN(AddedToken token, ParseToken(section[i], place));
    RETURN_IF_ERROR(Annotate(CheckAgainst(vocabulary, token), place));
    RETURN_IF_ERROR(Annotate(result.table_.Add(token.content, token.id), place));
    (token.normalized ? result.normalized_ : result.plain_).Add(token.content, i);
    result.by_id_.emplace(token.id, i);
    result.tokens_.push_back(std::move(token));
  }
  return result;
}

absl::Status AddedTokens::CheckNumbers(std::string_view where, const TokenTable& vocabulary) const {
  int64_t next = vocabulary.size();
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const AddedToken& token = tokens_[i];
    if (vocabulary.Find(token.content)) continue;
    if (token.id != next) {
      return absl::InvalidArgumentError(fmt::format(
          "{}[{}]: token \"{}\" has id {}, but Hugging Face's tokenizers number it {}, by its "
          "place in the file; what save_pretrained() of the tokenizer writes has their numbers",
          where, i, token.content, token.id, next));
    }
    ++next;
  }
  return absl::OkStatus();
}

const AddedToken* AddedTokens::Token(int64_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &tokens_[found->second];
}

void AddedTokens::SplitPiece(std::string_view text, const TextTrie& trie,
                             std::vector<Piece>& pieces) const {
  size_t done = 0;  // Where the text that belongs to no piece yet begins.
  for (size_t from = 0; const std::optional<TextTrie::Match> match = trie.Find(text, from);) {
    from = match->end;
    const AddedToken& token = tokens_[match->number];
    if (token.single_word && !StandsAlone(text, match->begin, match->end)) continue;
    const size_t begin = token.lstrip ? SkipSpaceBackwards(text, match->begin, done) : match->begin;
    const size_t end = token.rstrip ? SkipSpace(text, match->end) : match->end;
    if (begin >= end) continue;  // White space that the token before has taken.
    if (done < begin) pieces.push_back({text.substr(done, begin - done), nullptr});
    pieces.push_back({text.substr(begin, end - begin), &token});
    done = end;
  }
  if (done < text.size()) pieces.push_back({text.substr(done), nullptr});
}

std::vector<AddedTokens::Piece> AddedTokens::Split(std::string_view text) const {
  std::vector<Piece> plain;
  SplitPiece(text, plain_, plain);
  std::vector<Piece> pieces;
  for (const Piece& piece : plain) {
    if (piece.token != nullptr) {
      pieces.push_back(piece);
    } else {
      SplitPiece(piece.text, normalized_, pieces);
    }
  }
  return pieces;
}

}  // namespace fedtune
