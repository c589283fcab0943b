// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"

namespace fedtune {

// A file beside tokenizer.json as an object, empty where there is none.
//
// INVALID_ARGUMENT: not a JSON object. PERMISSION_DENIED.
absl::StatusOr<nlohmann::json> ReadTokenizerPart(const std::filesystem::path& model_folder,
                                                 std::string_view file);

// What special_tokens_map.json names, which goes before tokenizer_config.json, or nothing:
// transformers does not read it, nor added_tokens.json, where `tokenizer_config` has an
// added_tokens_decoder. Errors as from ReadTokenizerPart().
absl::StatusOr<nlohmann::json> ReadSpecialTokensMap(const std::filesystem::path& model_folder,
                                                    const nlohmann::json& tokenizer_config);

// Whether `tokenizer` recognises every token that the files beside tokenizer.json add, and
// nothing else: tokenizer_config.json, special_tokens_map.json and added_tokens.json, each of
// which can be absent. transformers adds those that are missing, and takes what an
// added_tokens_decoder says about white space and words around them, so that a text with them
// would have other tokens there. The names of single marks such as pad_token do not count:
// LoadSpecialTokens() looks for those that we use.
//
// INVALID_ARGUMENT: one is missing or differs (says which, and what to do), split_special_tokens
// is on, or a file is ill-formed. PERMISSION_DENIED.
absl::Status CheckNamedTokens(const std::filesystem::path& model_folder,
                              const Tokenizer& tokenizer);

}  // namespace fedtune
