// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/tokenizer.h"

#include <algorithm>
#include <functional>
#include <system_error>
#include <utility>

#include "base/files.h"
#include "base/json.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/tokenizer/json_fields.h"
#include "model/tokenizer/post_processor.h"
#include "model/tokenizer/utf8.h"

namespace fedtune {
namespace {

constexpr size_t kMaxTextBytes = size_t{1} << 30;

absl::Status NotSupported(const JsonFields& section, std::string_view type,
                          std::string_view supported) {
  return absl::InvalidArgumentError(
      fmt::format("{}: type \"{}\" is not supported; {}", section.where(), type, supported));
}

// A normalizer changes the text; only those that change nothing are taken.
absl::Status CheckNormalizer(const nlohmann::json& section, std::string where) {
  if (section.is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Of(section, std::move(where)));
  ASSIGN_OR_RETURN(const std::string type, fields.String("type"));
  if (type != "Sequence") return NotSupported(fields, type, "only null and an empty Sequence are");
  ASSIGN_OR_RETURN(const nlohmann::json* list, fields.Array("normalizers"));
  for (size_t i = 0; i < list->size(); ++i) {
    RETURN_IF_ERROR(
        CheckNormalizer((*list)[i], fmt::format("{}.normalizers[{}]", fields.where(), i)));
  }
  return absl::OkStatus();
}

// One whose vocabulary has bytes beside characters, and "\u2581" for a space.
absl::Status RefuseSentencePiece(const JsonFields& file) {
  const auto type_of = [&](std::string_view section) {
    const nlohmann::json& value = file.Any(section);
    return value.is_object() ? value.value("type", nlohmann::json()) : nlohmann::json();
  };
  const nlohmann::json& model = file.Any("model");
  const bool falls_back =
      model.is_object() && model.value("byte_fallback", nlohmann::json()) == true;
  if (type_of("pre_tokenizer") != "Metaspace" &&
      (!falls_back || type_of("decoder") == "ByteLevel")) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("{}: is a tokenizer of SentencePiece's kind, as Llama 2 has; only byte-level "
                  "tokenizers are supported, as those of DeepSeek and Llama 3",
                  file.where()));
}

absl::Status CheckDecoder(const JsonFields& file) {
  ASSIGN_OR_RETURN(const nlohmann::json* section, file.Object("decoder"));
  ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Of(*section, file.where() + ": decoder"));
  ASSIGN_OR_RETURN(const std::string type, fields.String("type"));
  return type == "ByteLevel" ? absl::OkStatus() : NotSupported(fields, type, "only ByteLevel is");
}

absl::Status CheckVersion(const JsonFields& file) {
  ASSIGN_OR_RETURN(const std::string version, file.String("version", "1.0"));
  if (version == "1.0") return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{}: version \"{}\" is not supported; only 1.0 is", file.where(), version));
}

// Where `part` begins in `text`; 0 if it is no part of it.
size_t OffsetIn(std::string_view text, std::string_view part) {
  const std::less_equal<> precedes;
  const bool within = precedes(text.data(), part.data()) &&
                      precedes(part.data() + part.size(), text.data() + text.size());
  return within ? static_cast<size_t>(part.data() - text.data()) : 0;
}

// Says how a tokenizer in an older form becomes one that we read.
absl::Status NoTokenizer(const std::filesystem::path& tokenizer_json, const absl::Status& status) {
  const std::filesystem::path folder = tokenizer_json.parent_path();
  const auto has = [&](const char* name) {
    std::error_code unreadable_is_not_there;
    return std::filesystem::exists(folder / name, unreadable_is_not_there);
  };
  if (has("tiktoken.model")) {
    return absl::NotFoundError(fmt::format(
        "{}; the tokenizer is in tiktoken.model: save what transformers' TikTokenConverter makes "
        "of it, with the pattern and the special tokens of the model's tokenization_*.py, as "
        "tokenizer.json",
        Message(status)));
  }
  if (!has("tokenizer.model") && !has("vocab.json")) return status;
  return absl::NotFoundError(fmt::format(
      "{}; the tokenizer is in {}: AutoTokenizer.from_pretrained(\"{}\").save_pretrained(\"{}\") "
      "of transformers writes tokenizer.json",
      Message(status), has("tokenizer.model") ? "tokenizer.model" : "vocab.json", folder.string(),
      folder.string()));
}

}  // namespace

Tokenizer::Tokenizer(AddedTokens added, PreTokenizer pre_tokenizer, BytePairModel model,
                     std::vector<int32_t> before_text)
    : added_(std::move(added)),
      pre_tokenizer_(std::move(pre_tokenizer)),
      model_(std::move(model)),
      before_text_(std::move(before_text)) {}

absl::StatusOr<Tokenizer> Tokenizer::FromJson(std::string_view json, std::string_view source) {
  ASSIGN_OR_RETURN(const nlohmann::json value, ParseJson(json, source));
  ASSIGN_OR_RETURN(const JsonFields file, JsonFields::Of(value, std::string(source)));
  const auto place = [source](std::string_view section) {
    return fmt::format("{}: {}", source, section);
  };
  RETURN_IF_ERROR(CheckVersion(file));
  RETURN_IF_ERROR(RefuseSentencePiece(file));
  RETURN_IF_ERROR(CheckNormalizer(file.Any("normalizer"), place("normalizer")));
  ASSIGN_OR_RETURN(std::vector<int32_t> before_text,
                   TokensBeforeText(file.Any("post_processor"), place("post_processor")));
  RETURN_IF_ERROR(CheckDecoder(file));
  ASSIGN_OR_RETURN(const nlohmann::json* steps, file.Object("pre_tokenizer"));
  ASSIGN_OR_RETURN(PreTokenizer pre_tokenizer,
                   PreTokenizer::FromJson(*steps, place("pre_tokenizer")));
  ASSIGN_OR_RETURN(const nlohmann::json* section, file.Object("model"));
  ASSIGN_OR_RETURN(BytePairModel model, BytePairModel::FromJson(*section, place("model")));
  ASSIGN_OR_RETURN(
      AddedTokens added,
      AddedTokens::FromJson(file.Any("added_tokens"), place("added_tokens"), model.vocabulary()));
  RETURN_IF_ERROR(added.CheckNumbers(place("added_tokens"), model.vocabulary()));
  return Tokenizer(std::move(added), std::move(pre_tokenizer), std::move(model),
                   std::move(before_text));
}

absl::StatusOr<Tokenizer> Tokenizer::Load(const std::filesystem::path& tokenizer_json) {
  const absl::StatusOr<std::string> json = ReadFile(tokenizer_json);
  if (absl::IsNotFound(json.status())) return NoTokenizer(tokenizer_json, json.status());
  RETURN_IF_ERROR(json.status());
  return FromJson(*json, tokenizer_json.string());
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::string_view utf8) const {
  std::vector<int32_t> ids;
  RETURN_IF_ERROR(Encode(utf8, ids, nullptr));
  return ids;
}

absl::StatusOr<Tokenizer::EncodedText> Tokenizer::EncodeWithEnds(std::string_view utf8) const {
  EncodedText encoded;
  RETURN_IF_ERROR(Encode(utf8, encoded.ids, &encoded.ends));
  return encoded;
}

absl::Status Tokenizer::Encode(std::string_view utf8, std::vector<int32_t>& ids,
                               std::vector<size_t>* ends) const {
  if (utf8.size() > kMaxTextBytes) {
    return absl::InvalidArgumentError(
        fmt::format("text of {} bytes; at most {} are taken at once", utf8.size(), kMaxTextBytes));
  }
  if (const std::optional<size_t> at = FindInvalidUtf8(utf8)) {
    return absl::InvalidArgumentError(fmt::format("text is not UTF-8 (at byte {})", *at));
  }
  Words words;
  for (const AddedTokens::Piece& piece : added_.Split(utf8)) {
    if (piece.token != nullptr) {
      ids.push_back(piece.token->id);
      if (ends != nullptr) ends->push_back(OffsetIn(utf8, piece.text) + piece.text.size());
      continue;
    }
    RETURN_IF_ERROR(pre_tokenizer_.Split(piece.text, words));
    for (const std::string_view word : words.words) {
      const size_t first = ids.size();
      model_.Encode(word, ids);
      if (ends != nullptr) AppendEnds(utf8, word, std::span(ids).subspan(first), *ends);
    }
  }
  return absl::OkStatus();
}

void Tokenizer::AppendEnds(std::string_view text, std::string_view word,
                           std::span<const int32_t> ids, std::vector<size_t>& ends) const {
  const size_t last = ends.empty() ? 0 : ends.back();
  const size_t offset = OffsetIn(text, word);
  size_t end = std::max(last, offset);  // A word that is not in the text has no offset.
  for (const int32_t id : ids) {
    end = std::min(end + model_.Bytes(id).value_or("").size(), text.size());
    ends.push_back(end);
  }
}

std::string Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const int32_t id : ids) {
    if (const AddedToken* token = added_.Token(id)) {
      if (!(skip_special && token->special)) bytes += token->content;
    } else if (const std::optional<std::string_view> text = model_.Bytes(id)) {
      bytes += *text;
    }
  }
  return ReplaceInvalidUtf8(bytes);
}

int32_t Tokenizer::vocabulary_size() const {
  return std::max(added_.id_end(), model_.vocabulary().id_end());
}

std::optional<int32_t> Tokenizer::TokenId(std::string_view token) const {
  const std::optional<int32_t> id = added_.Find(token);
  return id.has_value() ? id : model_.vocabulary().Find(token);
}

}  // namespace fedtune
