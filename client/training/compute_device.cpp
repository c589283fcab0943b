// SPDX-License-Identifier: Apache-2.0

#include "client/training/compute_device.h"

#include <charconv>
#include <chrono>
#include <optional>

#include "base/status.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr int kMaxIndex = 127;  // LibTorch's.

// The index in "cuda" (0) or "cuda:1"; none if it is neither.
std::optional<int> ParseGpuIndex(std::string_view name) {
  if (name == "cuda") return 0;
  constexpr std::string_view kPrefix = "cuda:";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  int index = -1;
  const char* end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data() + kPrefix.size(), end, index);
  if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  return index >= 0 && index <= kMaxIndex ? std::optional(index) : std::nullopt;
}

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// A GPU that is there, and how long its self-test took.
struct TestedGpu {
  Gpu gpu;
  double seconds = 0;
};

absl::StatusOr<TestedGpu> TestOne(const GpuAccess& gpus, int index) {
  const auto start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(Gpu gpu, gpus.describe(index));
  if (!gpu.has_bf16) {
    return absl::FailedPreconditionError(fmt::format(
        "GPU {}, {}, does not compute in bf16: compute capability 8.0 is needed", index, gpu.name));
  }
  const absl::Status test = gpus.test(index);
  if (!test.ok()) {
    return absl::FailedPreconditionError(
        fmt::format("GPU {}, {}, failed its self-test: {}. Another driver or another GPU may "
                    "help, or the end of another program that uses it: {} of its {} were free",
                    index, gpu.name, Message(test), HumanBytes(gpu.free_memory_bytes),
                    HumanBytes(gpu.memory_bytes)));
  }
  // The test has loaded what takes memory of its own, and keeps it.
  ASSIGN_OR_RETURN(gpu, gpus.describe(index));
  return TestedGpu{std::move(gpu), SecondsSince(start)};
}

}  // namespace

absl::StatusOr<ComputeDevice> ChooseDeviceAmong(const GpuAccess& gpus, std::string_view name) {
  ComputeDevice device = ComputeDevice::Cpu();
  if (name == "cpu") return device;
  const bool is_auto = name == "auto";
  const std::optional<int> index = is_auto ? 0 : ParseGpuIndex(name);
  if (!index) {
    return absl::InvalidArgumentError(
        fmt::format("unknown device \"{}\"; known are auto, cpu, cuda and cuda:N", name));
  }
  const absl::StatusOr<int> count = gpus.count();
  if (!count.ok() && is_auto) {
    device.remark_ = fmt::format("no GPU: {}", Message(count.status()));
    device.is_fallback_ = !absl::IsNotFound(count.status());
    return device;
  }
  if (!count.ok() || *index >= *count) {
    return absl::FailedPreconditionError(fmt::format(
        "the device is \"{}\", but {}. \"cpu\" always works", name,
        count.ok() ? fmt::format("the last GPU is cuda:{}", *count - 1) : Message(count.status())));
  }
  const absl::StatusOr<TestedGpu> tested = TestOne(gpus, *index);
  if (!tested.ok() && is_auto) {
    device.remark_ = Message(tested.status());
    device.is_fallback_ = true;
    return device;
  }
  RETURN_IF_ERROR(tested.status());
  device.kind_ = fmt::format("cuda:{}", *index);
  device.gpu_ = tested->gpu;
  device.remark_ = fmt::format("self-test passed in {:.1f} s", tested->seconds);
  return device;
}

std::string Describe(const ComputeDevice& device) {
  std::string text = device.kind();
  if (device.is_gpu()) {
    text += fmt::format(", {}, {} of which {} are free", device.gpu().name,
                        HumanBytes(device.gpu().memory_bytes),
                        HumanBytes(device.gpu().free_memory_bytes));
  }
  if (!device.remark().empty()) text += fmt::format(", {}", device.remark());
  return text;
}

}  // namespace fedtune
