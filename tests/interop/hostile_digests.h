// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace fedtune {

// What the tokenizer of this file makes of the texts of hostile_corpus.h: by the
// name of each group the number of its texts and tokens and the SHA-256 of the
// ids and of what they decode to; and the same for the bytes at which broken text
// is refused. hostile_corpus.py gives those of Hugging Face's library.
//
// INVALID_ARGUMENT: as Tokenizer::FromJson(); sound text is refused, or broken
// text without saying where.
absl::StatusOr<nlohmann::json> HostileDigests(std::string_view tokenizer_json,
                                              std::string_view source);

}  // namespace fedtune
