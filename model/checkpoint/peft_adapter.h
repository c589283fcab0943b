// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregation/adapter_layout.h"

namespace fedtune {

// An adapter as PEFT stores it: adapter_config.json and
// adapter_model.safetensors, with one pair of factors for each module and each
// routed expert.
struct PeftAdapter {
  AdapterLayout layout;       // In the order of the file.
  std::vector<float> values;  // As the layout says.
  std::string base_model;     // The name it was trained from; may be empty.
};

// Writes a folder that peft's PeftModel.from_pretrained() loads completely.
// `values` must be as many as the layout has. Nothing half-written gets the
// folder's name.
//
// ALREADY_EXISTS: the folder is there and not empty. INVALID_ARGUMENT: routed
// experts that peft cannot hold. RESOURCE_EXHAUSTED: the disk is full.
absl::Status WritePeftAdapter(const std::filesystem::path& directory, const AdapterLayout& layout,
                              std::span<const float> values, std::string_view base_model);

// Reads any such folder; factors in F32, F16 or BF16.
//
// NOT_FOUND: a file is missing. INVALID_ARGUMENT: names the tensor that is
// missing, unknown, of the wrong shape or has a value that is not finite.
absl::StatusOr<PeftAdapter> ReadPeftAdapter(const std::filesystem::path& directory);

// The same, in the order of `layout`, which names exactly the modules that must
// be there, with their ranks and scales.
absl::StatusOr<std::vector<float>> ReadPeftAdapter(const std::filesystem::path& directory,
                                                   const AdapterLayout& layout);

}  // namespace fedtune
