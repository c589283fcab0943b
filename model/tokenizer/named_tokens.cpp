// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/named_tokens.h"

#include <string>
#include <string_view>
#include <utility>

#include "base/files.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

using nlohmann::json;

constexpr char kConfig[] = "tokenizer_config.json";
constexpr char kMap[] = "special_tokens_map.json";
constexpr char kAdded[] = "added_tokens.json";
constexpr char kDecoder[] = "added_tokens_decoder";

bool HasDecoder(const json& tokenizer_config) {
  const auto found = tokenizer_config.find(kDecoder);
  return found != tokenizer_config.end() && !found->is_null();
}

class NamedTokens {
 public:
  NamedTokens(const std::filesystem::path& folder, const Tokenizer& tokenizer)
      : folder_(folder), tokenizer_(tokenizer) {}

  // Fields of a file's `content` that hold tokens: a list, or an object with a token under
  // each key.
  absl::Status CheckFields(const char* file, const json& content,
                           std::initializer_list<const char*> fields) const {
    for (const char* field : fields) {
      const auto found = content.find(field);
      if (found == content.end()) continue;
      for (const json& token : *found) {
        RETURN_IF_ERROR(CheckToken(token, fmt::format("{}: {}", Path(file), field)));
      }
    }
    return absl::OkStatus();
  }

  // Whether what a decoder says about its tokens is what tokenizer.json says. Requires: the
  // tokenizer has them.
  absl::Status CheckFlags(const char* file, const json& content) const {
    if (!HasDecoder(content)) return absl::OkStatus();
    for (const json& token : content[kDecoder]) {
      if (token.is_object()) RETURN_IF_ERROR(CheckFlagsOf(token, file));
    }
    return absl::OkStatus();
  }

  // An object from tokens to their numbers.
  absl::Status CheckKeys(const char* file, const json& content) const {
    for (const auto& [token, number] : content.items()) {
      RETURN_IF_ERROR(CheckToken(token, Path(file)));
    }
    return absl::OkStatus();
  }

 private:
  std::string Path(const char* file) const { return (folder_ / file).string(); }

  absl::Status CheckFlagsOf(const json& token, const char* file) const {
    const auto& text = token["content"].get_ref<const std::string&>();
    const AddedToken& own = *tokenizer_.Added(*tokenizer_.TokenId(text));
    const std::pair<const char*, bool> flags[] = {
        {"lstrip", own.lstrip}, {"rstrip", own.rstrip}, {"single_word", own.single_word}};
    for (const auto& [flag, value] : flags) {
      if (token.value(flag, json(false)) == value) continue;
      return absl::InvalidArgumentError(
          fmt::format("{}: {} has another \"{}\" for the token \"{}\" than tokenizer.json; "
                      "transformers goes by it, and its from_pretrained() and save_pretrained() "
                      "of the tokenizer make both alike",
                      Path(file), kDecoder, flag, text));
    }
    return absl::OkStatus();
  }

  absl::Status CheckToken(const json& token, std::string_view where) const {
    const json& name = token.is_object() && token.contains("content") ? token["content"] : token;
    if (!name.is_string()) {
      return absl::InvalidArgumentError(fmt::format("{} has a token without a name", where));
    }
    const auto& text = name.get_ref<const std::string&>();
    const std::optional<int32_t> id = tokenizer_.TokenId(text);
    if (id && tokenizer_.IsAddedToken(*id)) return absl::OkStatus();
    return absl::InvalidArgumentError(
        fmt::format("{} has the token \"{}\", which is not among the added_tokens of "
                    "tokenizer.json; transformers' from_pretrained() and save_pretrained() of the "
                    "tokenizer put it there",
                    where, text));
  }

  const std::filesystem::path& folder_;
  const Tokenizer& tokenizer_;
};

}  // namespace

absl::StatusOr<json> ReadTokenizerPart(const std::filesystem::path& model_folder,
                                       std::string_view file) {
  const std::filesystem::path path = model_folder / file;
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (absl::IsNotFound(text.status())) return json::object();
  RETURN_IF_ERROR(text.status());
  ASSIGN_OR_RETURN(json content, ParseJson(*text, path.string()));
  if (content.is_object()) return content;
  return absl::InvalidArgumentError(fmt::format("{}: must be an object", path.string()));
}

absl::StatusOr<json> ReadSpecialTokensMap(const std::filesystem::path& model_folder,
                                          const json& tokenizer_config) {
  if (HasDecoder(tokenizer_config)) return json::object();
  return ReadTokenizerPart(model_folder, kMap);
}

absl::Status CheckNamedTokens(const std::filesystem::path& model_folder,
                              const Tokenizer& tokenizer) {
  const NamedTokens named(model_folder, tokenizer);
  constexpr char kAdditional[] = "additional_special_tokens", kExtra[] = "extra_special_tokens";
  ASSIGN_OR_RETURN(const json config, ReadTokenizerPart(model_folder, kConfig));
  RETURN_IF_ERROR(named.CheckFields(kConfig, config, {kDecoder, kAdditional, kExtra}));
  RETURN_IF_ERROR(named.CheckFlags(kConfig, config));
  if (config.value("split_special_tokens", json(false)) == true) {
    return absl::InvalidArgumentError(
        fmt::format("{}: split_special_tokens is true, which is not supported",
                    (model_folder / kConfig).string()));
  }
  if (HasDecoder(config)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const json map, ReadTokenizerPart(model_folder, kMap));
  RETURN_IF_ERROR(named.CheckFields(kMap, map, {kAdditional, kExtra}));
  ASSIGN_OR_RETURN(const json added, ReadTokenizerPart(model_folder, kAdded));
  return named.CheckKeys(kAdded, added);
}

}  // namespace fedtune
