// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace fedtune {

// Tensor name to the name of the shard that holds it.
using WeightMap = std::map<std::string, std::string>;

// Reads the weight_map of a model.safetensors.index.json: at least one tensor,
// and every shard a plain file name, so that it stays inside the folder.
// `source` names the file in messages.
//
// INVALID_ARGUMENT: not JSON, no weight_map, or a tensor (says which) that is
// not assigned to a file name.
absl::StatusOr<WeightMap> ParseWeightsIndex(std::string_view json, std::string_view source);

}  // namespace fedtune
