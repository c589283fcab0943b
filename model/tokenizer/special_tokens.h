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

  // Whether the model saw `bos` before its texts in training: true unless
  // tokenizer_config.json says "add_bos_token": false.
  bool add_bos = true;
};

// Reads them from a checkpoint's folder: each by name from
// tokenizer_config.json, or else by id from config.json. Either file can be
// absent.
//
// INVALID_ARGUMENT: not JSON, an ill-typed field, a token that `tokenizer` does
// not have. PERMISSION_DENIED.
absl::StatusOr<SpecialTokens> LoadSpecialTokens(const std::filesystem::path& model_folder,
                                                const Tokenizer& tokenizer);

}  // namespace fedtune
