// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/byte_pair_model.h"

#include <utility>

#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/tokenizer/byte_alphabet.h"
#include "model/tokenizer/json_fields.h"

namespace fedtune {
namespace {

// These bytes stand in no well-formed UTF-8 (RFC 3629).
constexpr bool NeverInUtf8(int byte) { return byte == 0xC0 || byte == 0xC1 || byte >= 0xF5; }

// Bytes without which a vocabulary is not one of bytes.
constexpr bool IsCommon(int byte) {
  return (byte >= 0x20 && byte < 0x7F) || byte == '\t' || byte == '\n' || byte == '\r';
}

constexpr int32_t kNoToken = -1;

// Settings that change the result and that no byte-level model uses.
absl::Status CheckSettings(const JsonFields& fields) {
  ASSIGN_OR_RETURN(const std::string type, fields.String("type"));
  if (type != "BPE") {
    return absl::InvalidArgumentError(
        fmt::format("{}: type \"{}\" is not supported; only BPE is", fields.where(), type));
  }
  const nlohmann::json& dropout = fields.Any("dropout");
  if (!dropout.is_null() && dropout != 0) {
    return absl::InvalidArgumentError(fmt::format("{}: dropout is not supported", fields.where()));
  }
  for (const std::string_view affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    ASSIGN_OR_RETURN(const std::string text, fields.String(affix, ""));
    if (text.empty()) continue;
    return absl::InvalidArgumentError(
        fmt::format("{}: {} is not supported by byte-level models", fields.where(), affix));
  }
  return absl::OkStatus();
}

// The two tokens of a merge, written as "a b" or as ["a", "b"].
std::optional<std::pair<std::string_view, std::string_view>> ParseMerge(
    const nlohmann::json& merge) {
  if (merge.is_array()) {
    if (merge.size() != 2 || !merge[0].is_string() || !merge[1].is_string()) return std::nullopt;
    return std::pair<std::string_view, std::string_view>(merge[0].get_ref<const std::string&>(),
                                                         merge[1].get_ref<const std::string&>());
  }
  if (!merge.is_string()) return std::nullopt;
  const std::string_view text = merge.get_ref<const std::string&>();
  const size_t space = text.find(' ');
  if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) {
    return std::nullopt;
  }
  return std::pair(text.substr(0, space), text.substr(space + 1));
}

// Whether this is the heading that merges have in files of their own.
bool IsHeading(const nlohmann::json& merge) {
  return merge.is_string() && merge.get_ref<const std::string&>().starts_with("#version");
}

}  // namespace

absl::StatusOr<BytePairModel> BytePairModel::FromJson(const nlohmann::json& section,
                                                      std::string where) {
  ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Of(section, std::move(where)));
  RETURN_IF_ERROR(CheckSettings(fields));
  ASSIGN_OR_RETURN(const bool ignore_merges, fields.Bool("ignore_merges", false));
  ASSIGN_OR_RETURN(const nlohmann::json* vocab, fields.Object("vocab"));
  ASSIGN_OR_RETURN(const nlohmann::json* merges, fields.Array("merges"));
  BytePairModel model;
  RETURN_IF_ERROR(model.ReadVocabulary(*vocab, fields.where() + ".vocab"));
  ASSIGN_OR_RETURN(const bool byte_fallback, fields.Bool("byte_fallback", false));
  const bool has_substitute = byte_fallback || !fields.Any("unk_token").is_null();
  RETURN_IF_ERROR(model.FindBytes(fields.where() + ".vocab", has_substitute));
  RETURN_IF_ERROR(model.ReadMerges(*merges, fields.where() + ".merges"));
  model.FindWholeWords(ignore_merges);
  return model;
}

absl::Status BytePairModel::ReadVocabulary(const nlohmann::json& vocab, const std::string& where) {
  for (const auto& [token, id] : vocab.items()) {
    if (!id.is_number_integer()) {
      return absl::InvalidArgumentError(
          fmt::format("{}: the id of \"{}\" must be a whole number", where, token));
    }
    RETURN_IF_ERROR(Annotate(vocabulary_.Add(token, id.get<int64_t>()), where));
  }
  return absl::OkStatus();
}

absl::Status BytePairModel::FindBytes(const std::string& where, bool has_substitute) {
  bytes_.resize(static_cast<size_t>(vocabulary_.id_end()));
  for (int32_t id = 0; id < vocabulary_.id_end(); ++id) {
    const std::optional<std::string_view> token = vocabulary_.Token(id);
    if (!token.has_value()) continue;
    std::optional<std::string> bytes = BytesOfToken(*token);
    bytes_[static_cast<size_t>(id)] = bytes.has_value() ? *std::move(bytes) : std::string(*token);
  }
  for (int byte = 0; byte < 256; ++byte) {
    const std::string token = TokenOfBytes(std::string(1, static_cast<char>(byte)));
    const std::optional<int32_t> id = vocabulary_.Find(token);
    if (!id.has_value() && !NeverInUtf8(byte) && (has_substitute || IsCommon(byte))) {
      return absl::InvalidArgumentError(fmt::format(
          "{}: has no token \"{}\" for the byte {:#04x}; only byte-level tokenizers are supported",
          where, token, byte));
    }
    byte_tokens_[static_cast<size_t>(byte)] = id.value_or(kNoToken);
  }
  return absl::OkStatus();
}

absl::Status BytePairModel::ReadMerges(const nlohmann::json& merges, const std::string& where) {
  int64_t rank = 0;
  for (size_t i = 0; i < merges.size(); ++i) {
    if (IsHeading(merges[i])) continue;
    const auto pair = ParseMerge(merges[i]);
    if (!pair.has_value()) {
      return absl::InvalidArgumentError(
          fmt::format("{}[{}]: must be two tokens, as \"a b\" or [\"a\", \"b\"]", where, i));
    }
    RETURN_IF_ERROR(
        Annotate(AddMerge(pair->first, pair->second, rank++), fmt::format("{}[{}]", where, i)));
  }
  return absl::OkStatus();
}

absl::Status BytePairModel::AddMerge(std::string_view left, std::string_view right, int64_t rank) {
  const std::string merged = fmt::format("{}{}", left, right);
  int32_t ids[3] = {};
  int32_t* id = ids;
  for (const std::string_view token : {left, right, std::string_view(merged)}) {
    const std::optional<int32_t> found = vocabulary_.Find(token);
    if (!found.has_value()) {
      return absl::InvalidArgumentError(
          fmt::format("token \"{}\" is not in the vocabulary", token));
    }
    *id++ = *found;
  }
  rules_.Set(ids[0], ids[1], static_cast<uint32_t>(rank), ids[2]);
  return absl::OkStatus();
}

void BytePairModel::FindWholeWords(bool ignore_merges) {
  std::vector<int32_t> merged;
  for (int32_t id = 0; id < vocabulary_.id_end(); ++id) {
    const std::optional<std::string_view> token = vocabulary_.Token(id);
    if (!token.has_value() || !BytesOfToken(*token).has_value()) continue;
    const std::string& word = bytes_[static_cast<size_t>(id)];
    merged.clear();
    if (!ignore_merges) Encode(word, merged);
    if (ignore_merges || (merged.size() == 1 && merged[0] == id)) {
      whole_words_.try_emplace(word, id);
    }
  }
}

void BytePairModel::Encode(std::string_view word, std::vector<int32_t>& ids) const {
  const auto whole = whole_words_.find(word);
  if (whole != whole_words_.end()) {
    ids.push_back(whole->second);
    return;
  }
  const size_t first = ids.size();
  for (const char byte : word) {
    const int32_t token = byte_tokens_[static_cast<uint8_t>(byte)];
    if (token != kNoToken) ids.push_back(token);
  }
  rules_.Apply(ids, first);
}

std::optional<std::string_view> BytePairModel::Bytes(int64_t id) const {
  if (!vocabulary_.Token(id).has_value()) return std::nullopt;
  return bytes_[static_cast<size_t>(id)];
}

}  // namespace fedtune
