// SPDX-License-Identifier: Apache-2.0

#include "client/commands/device.h"

#include <string>
#include <string_view>

#include "base/files.h"
#include "base/usable_memory.h"
#include "fmt/format.h"

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

ThreadCount ThreadsFor(int64_t wanted, int cores) {
  if (wanted <= 0) return {.count = cores, .remark = ""};
  if (wanted <= cores) return {.count = static_cast<int>(wanted), .remark = ""};
  return {.count = cores,
          .remark = fmt::format("{} threads are asked for and this process may use {} core{}, so "
                                "it computes with {}; say 0 for all cores, or give it more of them",
                                wanted, cores, cores == 1 ? "" : "s", cores)};
}

DeviceDescription DescribeDevice(const ComputeDevice& device, int64_t threads) {
  const bool is_gpu = device.is_gpu();
  return {.kind = device.kind(),
          .name = is_gpu ? device.gpu().name : ProcessorName(),
          .memory_bytes = is_gpu ? device.gpu().memory_bytes : UsableMemory(),
          .threads = static_cast<uint32_t>(ThreadsFor(threads).count)};
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
