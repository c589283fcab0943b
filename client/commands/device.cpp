// SPDX-License-Identifier: Apache-2.0

#include "client/commands/device.h"

#include <string>
#include <string_view>
#include <thread>

#include "base/files.h"
#include "base/usable_memory.h"

namespace fedtune {
namespace {

// As the processor calls itself; empty if it does not say.
std::string ProcessorName() {
  const absl::StatusOr<std::string> text = ReadFile("/proc/cpuinfo");
  if (!text.ok()) return "";
  constexpr std::string_view kKey = "model name\t: ";
  const size_t key = text->find(kKey);
  if (key == std::string::npos) return "";
  const size_t begin = key + kKey.size();
  return text->substr(begin, text->find('\n', begin) - begin);
}

}  // namespace

DeviceDescription DescribeDevice(const ComputeDevice& device, int64_t threads) {
  const bool is_gpu = device.is_gpu();
  return {.kind = device.kind(),
          .name = is_gpu ? device.gpu().name : ProcessorName(),
          .memory_bytes = is_gpu ? device.gpu().memory_bytes : UsableMemory(),
          .threads =
              threads > 0 ? static_cast<unsigned>(threads) : std::thread::hardware_concurrency()};
}

MemoryBudget BudgetOf(const ComputeDevice& device, Recompute recompute,
                      std::optional<double> memory_gb) {
  MemoryBudget budget = {
      .recompute = recompute, .bytes = UsableMemory(), .type = ComputeTypeOfCpu()};
  if (device.is_gpu()) {
    budget.bytes = device.gpu().free_memory_bytes;
    budget.type = ComputeType::kBf16;
  }
  if (memory_gb) budget.bytes = static_cast<uint64_t>(*memory_gb * 1e9);
  return budget;
}

}  // namespace fedtune
