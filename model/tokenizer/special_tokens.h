// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "absl/status/statusor.h"
#include "model/tokenizer/tokenizer.h"

namespace fedtune {

// The tokens with a meaning of their own, where a model has them.
struct SpecialTokens {
  std::optional<int32_t> bos = {};  // Before a text.
  std::optional<int32_t> eos = {};  // After a text.

  // Whether the model saw `bos` before its texts in training.
  bool add_bos = true;
};

// Reads them from a checkpoint's folder: each by name from special_tokens_map.json,
// where transformers reads it (ReadSpecialTokensMap()), or tokenizer_config.json, or
// else by id from config.json. Each file can be absent. Whether texts begin with a mark is what
// "add_bos_token" says. Where it is absent it is what tokenizer.json puts before a text, as in
// transformers 5, whose save_pretrained() leaves the field out; the mark is then the one it puts.
// Where both are there and differ we differ from transformers 5 on purpose, which goes by
// tokenizer.json alone: the field is what the model's makers have said, and what
// transformers 4, with which these models were made, did.
//
// INVALID_ARGUMENT: not JSON, an ill-typed field, a token that `tokenizer` does
// not have, or several marks before a text; as from CheckNamedTokens(). PERMISSION_DENIED.
absl::StatusOr<SpecialTokens> LoadSpecialTokens(const std::filesystem::path& model_folder,
                                                const Tokenizer& tokenizer);

}  // namespace fedtune
