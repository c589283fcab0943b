// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>

#include "absl/status/status.h"
#include "model/tokenizer/tokenizer.h"

namespace fedtune {

// Whether `tokenizer` recognises every token that the files beside tokenizer.json add:
// tokenizer_config.json, special_tokens_map.json and added_tokens.json, each of which can
// be absent. transformers adds those that are missing, so that a text with them would
// have other tokens there. The names of single marks such as pad_token do not count:
// LoadSpecialTokens() looks for those that we use.
//
// INVALID_ARGUMENT: one is missing (says which, and what to do), or a file is ill-formed.
// PERMISSION_DENIED.
absl::Status CheckNamedTokens(const std::filesystem::path& model_folder,
                              const Tokenizer& tokenizer);

}  // namespace fedtune
