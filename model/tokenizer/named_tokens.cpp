// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/named_tokens.h"

#include <string>
#include <string_view>

#include "base/files.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

using nlohmann::json;

class NamedTokens {
 public:
  NamedTokens(const std::filesystem::path& folder, const Tokenizer& tokenizer)
      : folder_(folder), tokenizer_(tokenizer) {}

  // Fields of `file` that hold tokens: a list, or an object with a token under each key.
  absl::Status CheckFields(const char* file, std::initializer_list<const char*> fields) const {
    ASSIGN_OR_RETURN(const json content, Read(file));
    for (const char* field : fields) {
      const auto found = content.find(field);
      if (found == content.end()) continue;
      for (const json& token : *found) {
        RETURN_IF_ERROR(CheckToken(token, fmt::format("{}: {}", Path(file), field)));
      }
    }
    return absl::OkStatus();
  }

  // An object from tokens to their numbers.
  absl::Status CheckKeys(const char* file) const {
    ASSIGN_OR_RETURN(const json content, Read(file));
    for (const auto& [token, number] : content.items()) {
      RETURN_IF_ERROR(CheckToken(token, Path(file)));
    }
    return absl::OkStatus();
  }

 private:
  std::string Path(const char* file) const { return (folder_ / file).string(); }

  // An empty object when the file is absent.
  absl::StatusOr<json> Read(const char* file) const {
    const absl::StatusOr<std::string> text = ReadFile(folder_ / file);
    if (absl::IsNotFound(text.status())) return json::object();
    RETURN_IF_ERROR(text.status());
    ASSIGN_OR_RETURN(json content, ParseJson(*text, Path(file)));
    if (content.is_object()) return content;
    return absl::InvalidArgumentError(fmt::format("{}: must be an object", Path(file)));
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

absl::Status CheckNamedTokens(const std::filesystem::path& model_folder,
                              const Tokenizer& tokenizer) {
  const NamedTokens named(model_folder, tokenizer);
  constexpr char kSpecial[] = "additional_special_tokens";
  RETURN_IF_ERROR(named.CheckFields("tokenizer_config.json",
                                    {"added_tokens_decoder", kSpecial, "extra_special_tokens"}));
  RETURN_IF_ERROR(named.CheckFields("special_tokens_map.json", {kSpecial}));
  return named.CheckKeys("added_tokens.json");
}

}  // namespace fedtune
