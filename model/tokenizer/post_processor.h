// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace fedtune {

// The tokens that the section "post_processor" of a tokenizer.json puts before a text,
// usually none or a begin mark. `where` names the section in messages.
//
// INVALID_ARGUMENT: does something else than to put marks around a text or to correct
// offsets; says what.
absl::StatusOr<std::vector<int32_t>> TokensBeforeText(const nlohmann::json& section,
                                                      std::string where);

}  // namespace fedtune
