// SPDX-License-Identifier: Apache-2.0

#include "client/commands/remembered_gpu.h"

#include "base/files.h"
#include "base/printable_text.h"
#include "base/status.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

std::filesystem::path FileIn(const std::filesystem::path& state_dir) { return state_dir / "gpu"; }

}  // namespace

void RememberGpu(const std::filesystem::path& state_dir, const ComputeDevice& device, Log& log) {
  if (!device.is_gpu()) return;
  const std::string gpu = fmt::format("{}, {}", device.kind(), device.gpu().name);
  const std::filesystem::path file = FileIn(state_dir);
  if (ReadFile(file).value_or("") == gpu) return;
  const absl::Status stored = WriteFileAtomically(file, gpu);
  if (stored.ok()) return;
  log.Warning("the GPU is not remembered; a start that finds none will not say so",
              {Field("reason", Message(stored))});
}

std::optional<std::string> RememberedGpu(const std::filesystem::path& state_dir) {
  const absl::StatusOr<std::string> gpu = ReadFile(FileIn(state_dir));
  if (!gpu.ok()) return std::nullopt;
  return PrintableText(*gpu);
}

std::optional<std::string> MissedGpu(const ClientConfig& config, const ComputeDevice& device) {
  if (config.device != "auto" || device.is_gpu() || device.is_fallback()) return std::nullopt;
  return RememberedGpu(config.state_dir);
}

}  // namespace fedtune
