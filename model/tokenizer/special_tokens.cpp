// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/special_tokens.h"

#include <string>
#include <string_view>
#include <vector>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/tokenizer/json_fields.h"
#include "model/tokenizer/named_tokens.h"

namespace fedtune {
namespace {

// A token's name is text, or an object with its text as "content".
absl::StatusOr<std::string> ReadName(const JsonFields& file, std::string_view key) {
  if (!file.Any(key).is_object()) return file.String(key);
  ASSIGN_OR_RETURN(const JsonFields token,
                   JsonFields::Of(file.Any(key), fmt::format("{}: {}", file.where(), key)));
  return token.String("content");
}

absl::StatusOr<std::optional<int32_t>> FindByName(const JsonFields& file, std::string_view key,
                                                  const Tokenizer& tokenizer) {
  if (file.Any(key).is_null()) return std::nullopt;
  ASSIGN_OR_RETURN(const std::string name, ReadName(file, key));
  const std::optional<int32_t> id = tokenizer.TokenId(name);
  if (id.has_value()) return id;
  return absl::InvalidArgumentError(fmt::format(
      "{}: {} \"{}\" is not a token of this model's tokenizer", file.where(), key, name));
}

// An id, or a list whose first one counts (several tokens can end a text).
absl::StatusOr<std::optional<int32_t>> FindById(const JsonFields& file, const std::string& key,
                                                const Tokenizer& tokenizer) {
  const nlohmann::json& field = file.Any(key);
  const nlohmann::json& value = field.is_array() && !field.empty() ? field[0] : field;
  if (value.is_null()) return std::nullopt;
  if (!value.is_number_integer()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: \"{}\" must be a whole number", file.where(), key));
  }
  const auto id = value.get<int64_t>();
  if (id >= 0 && id < tokenizer.vocabulary_size()) return static_cast<int32_t>(id);
  return absl::InvalidArgumentError(
      fmt::format("{}: \"{}\" is {}, but the tokenizer has the ids 0 to {}", file.where(), key, id,
                  tokenizer.vocabulary_size() - 1));
}

absl::Status GoByTokenizer(const std::filesystem::path& model_folder, const Tokenizer& tokenizer,
                           SpecialTokens& tokens) {
  const std::vector<int32_t>& before = tokenizer.tokens_before_text();
  tokens.add_bos = !before.empty();
  if (before.empty()) return absl::OkStatus();
  tokens.bos = before.front();
  if (before.size() == 1 && before.front() < tokenizer.vocabulary_size()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{}: post_processor puts [{}] before a text; one token of the tokenizer or none "
                  "is supported",
                  (model_folder / "tokenizer.json").string(), fmt::join(before, ", ")));
}

}  // namespace

absl::StatusOr<SpecialTokens> LoadSpecialTokens(const std::filesystem::path& model_folder,
                                                const Tokenizer& tokenizer) {
  RETURN_IF_ERROR(CheckNamedTokens(model_folder, tokenizer));
  constexpr char kByName[] = "tokenizer_config.json", kById[] = "config.json";
  ASSIGN_OR_RETURN(const nlohmann::json by_name_json, ReadTokenizerPart(model_folder, kByName));
  ASSIGN_OR_RETURN(const nlohmann::json map_json, ReadSpecialTokensMap(model_folder, by_name_json));
  ASSIGN_OR_RETURN(const nlohmann::json by_id_json, ReadTokenizerPart(model_folder, kById));
  const auto path = [&](const char* file) { return (model_folder / file).string(); };
  ASSIGN_OR_RETURN(const JsonFields by_name, JsonFields::Of(by_name_json, path(kByName)));
  ASSIGN_OR_RETURN(const JsonFields map, JsonFields::Of(map_json, path("special_tokens_map.json")));
  ASSIGN_OR_RETURN(const JsonFields by_id, JsonFields::Of(by_id_json, path(kById)));

  const auto find = [&](const std::string& key) -> absl::StatusOr<std::optional<int32_t>> {
    for (const JsonFields& names : {map, by_name}) {
      ASSIGN_OR_RETURN(const std::optional<int32_t> id, FindByName(names, key, tokenizer));
      if (id.has_value()) return id;
    }
    return FindById(by_id, key + "_id", tokenizer);
  };
  SpecialTokens tokens;
  ASSIGN_OR_RETURN(tokens.bos, find("bos_token"));
  ASSIGN_OR_RETURN(tokens.eos, find("eos_token"));
  if (by_name.Any("add_bos_token").is_null()) {
    RETURN_IF_ERROR(GoByTokenizer(model_folder, tokenizer, tokens));
  } else {
    ASSIGN_OR_RETURN(tokens.add_bos, by_name.Bool("add_bos_token"));
  }
  return tokens;
}

}  // namespace fedtune
