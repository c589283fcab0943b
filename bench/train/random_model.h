// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <string_view>

#include "absl/status/status.h"

namespace fedtune::bench {

// Writes a Hugging Face checkpoint for the architecture of `config_json`, in bf16
// or fp32 as its torch_dtype says: norms are one, biases of routers zero, and every
// other weight is drawn from a normal distribution of deviation 0.02, always the
// same.
//
// INVALID_ARGUMENT: not a config.json that we can run. As SafetensorsWriter.
absl::Status WriteRandomModel(std::string_view config_json, const std::filesystem::path& directory);

}  // namespace fedtune::bench
