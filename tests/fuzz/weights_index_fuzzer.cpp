// SPDX-License-Identifier: Apache-2.0

// model.safetensors.index.json: file names in it must stay inside the folder.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>

#include "base/check.h"
#include "model/checkpoint/weights_index.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  const auto weights = fedtune::ParseWeightsIndex(json, "fuzz");
  if (!weights.ok()) return 0;
  fedtune::Check(!weights->empty(), "an index lists tensors");
  const std::filesystem::path folder = "/model";
  for (const auto& [tensor, file] : *weights) {
    const auto path = (folder / file).lexically_normal();
    fedtune::Check(path.parent_path() == folder && path != folder, "inside the folder");
  }
  return 0;
}
