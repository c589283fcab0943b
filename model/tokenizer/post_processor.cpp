// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/post_processor.h"

#include <string_view>
#include <utility>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/tokenizer/json_fields.h"

namespace fedtune {
namespace {

constexpr int64_t kMaxTokenId = 2147483647;

// The ids under which a template knows a mark.
absl::Status AppendMark(const JsonFields& processor, const std::string& name,
                        std::vector<int32_t>& tokens) {
  ASSIGN_OR_RETURN(const nlohmann::json* marks, processor.Object("special_tokens"));
  ASSIGN_OR_RETURN(const JsonFields known,
                   JsonFields::Of(*marks, processor.where() + ".special_tokens"));
  ASSIGN_OR_RETURN(const nlohmann::json* entry, known.Object(name));
  ASSIGN_OR_RETURN(const JsonFields mark,
                   JsonFields::Of(*entry, fmt::format("{}.{}", known.where(), name)));
  ASSIGN_OR_RETURN(const nlohmann::json* ids, mark.Array("ids"));
  for (const nlohmann::json& id : *ids) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > kMaxTokenId) {
      return absl::InvalidArgumentError(
          fmt::format("{}: \"ids\" must be a list of tokens", mark.where()));
    }
    tokens.push_back(id.get<int32_t>());
  }
  return absl::OkStatus();
}

// Those of a template for one text before the text itself.
absl::StatusOr<std::vector<int32_t>> MarksBeforeText(const JsonFields& processor) {
  ASSIGN_OR_RETURN(const nlohmann::json* pieces, processor.Array("single"));
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < pieces->size(); ++i) {
    ASSIGN_OR_RETURN(
        const JsonFields piece,
        JsonFields::Of((*pieces)[i], fmt::format("{}.single[{}]", processor.where(), i)));
    if (!piece.Any("Sequence").is_null()) break;
    ASSIGN_OR_RETURN(const nlohmann::json* named, piece.Object("SpecialToken"));
    ASSIGN_OR_RETURN(const JsonFields mark, JsonFields::Of(*named, piece.where()));
    ASSIGN_OR_RETURN(const std::string name, mark.String("id"));
    RETURN_IF_ERROR(AppendMark(processor, name, tokens));
  }
  return tokens;
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> TokensBeforeText(const nlohmann::json& section,
                                                      std::string where) {
  std::vector<int32_t> tokens;
  if (section.is_null()) return tokens;
  ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Of(section, std::move(where)));
  ASSIGN_OR_RETURN(const std::string type, fields.String("type"));
  if (type == "ByteLevel") return tokens;
  if (type == "TemplateProcessing") return MarksBeforeText(fields);
  if (type != "Sequence") {
    return absl::InvalidArgumentError(
        fmt::format("{}: type \"{}\" is not supported; null, ByteLevel, TemplateProcessing and "
                    "Sequence are",
                    fields.where(), type));
  }
  ASSIGN_OR_RETURN(const nlohmann::json* list, fields.Array("processors"));
  for (size_t i = 0; i < list->size(); ++i) {
    ASSIGN_OR_RETURN(
        const std::vector<int32_t> before,
        TokensBeforeText((*list)[i], fmt::format("{}.processors[{}]", fields.where(), i)));
    tokens.insert(tokens.begin(), before.begin(), before.end());
  }
  return tokens;
}

}  // namespace fedtune
