// SPDX-License-Identifier: Apache-2.0

// The tensors of adapter_model.safetensors against adapter_config.json, which
// says that the rank is 2 throughout.

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/files.h"
#include "model/checkpoint/peft_adapter.h"

namespace {

// A folder of this process in memory.
std::filesystem::path MakeFolder() {
  static std::string folder = "/dev/shm/fedtune-fuzz-XXXXXX";
  fedtune::Check(mkdtemp(folder.data()) != nullptr, "a folder in /dev/shm");
  std::atexit([] { std::filesystem::remove_all(folder); });
  fedtune::Check(fedtune::WriteFileAtomically(
                     std::filesystem::path(folder) / "adapter_config.json",
                     R"({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q"]})")
                     .ok(),
                 "its configuration");
  return folder;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using fedtune::Check;
  static const std::filesystem::path folder = MakeFolder();
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Check(fedtune::WriteFileAtomically(folder / "adapter_model.safetensors", bytes).ok(), "written");
  const auto adapter = fedtune::ReadPeftAdapter(folder);
  if (!adapter.ok()) return 0;
  Check(adapter->values.size() == static_cast<size_t>(adapter->layout.parameter_count()),
        "as many values as the layout has");
  for (const auto& module : adapter->layout.modules()) Check(module.lora_rank == 2, "rank");
  return 0;
}
