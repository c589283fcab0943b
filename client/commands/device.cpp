// SPDX-License-Identifier: Apache-2.0

#include "client/commands/device.h"

#include <unistd.h>

#include <string>
#include <string_view>
#include <thread>

#include "base/files.h"

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

uint64_t MemoryBytes() {
  return static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
         static_cast<uint64_t>(::sysconf(_SC_PAGE_SIZE));
}

}  // namespace

DeviceDescription DescribeDevice(const ComputeDevice& device, int64_t threads) {
  const bool is_gpu = device.is_gpu();
  return {.kind = device.kind(),
          .name = is_gpu ? device.gpu().name : ProcessorName(),
          .memory_bytes = is_gpu ? device.gpu().memory_bytes : MemoryBytes(),
          .threads =
              threads > 0 ? static_cast<unsigned>(threads) : std::thread::hardware_concurrency()};
}

}  // namespace fedtune
