// SPDX-License-Identifier: Apache-2.0

#include "client/training/device.h"

#include <charconv>

#include "ATen/Context.h"
#include "ATen/detail/CUDAHooksInterface.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/transformer/gpu_self_test.h"

namespace fedtune {
namespace {

// The index in "cuda" (0) or "cuda:1"; negative if it is neither.
int ParseCudaIndex(std::string_view name) {
  if (name == "cuda") return 0;
  constexpr std::string_view kPrefix = "cuda:";
  if (!name.starts_with(kPrefix)) return -1;
  int index = -1;
  const char* end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data() + kPrefix.size(), end, index);
  return parsed.ec == std::errc() && parsed.ptr == end ? index : -1;
}

absl::StatusOr<c10::Device> TestedGpu(int index) {
  const int64_t count = at::globalContext().hasCUDA() ? at::detail::getCUDAHooks().getNumGPUs() : 0;
  if (index >= count) {
    return absl::FailedPreconditionError(fmt::format(
        "there is no GPU {}: this program sees {}. Is the driver installed, and is this "
        "the build with CUDA? \"cpu\" always works",
        index, count));
  }
  const c10::Device device(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
  RETURN_IF_ERROR(TestGpu(device));
  return device;
}

}  // namespace

absl::StatusOr<c10::Device> ChooseDevice(std::string_view name) {
  const c10::Device cpu(c10::kCPU);
  if (name == "cpu") return cpu;
  if (name == "auto") {
    if (!at::globalContext().hasCUDA()) return cpu;
    return TestedGpu(0);
  }
  const int index = ParseCudaIndex(name);
  if (index < 0 || index > 127) {
    return absl::InvalidArgumentError(
        fmt::format("unknown device \"{}\"; known are auto, cpu, cuda and cuda:N", name));
  }
  return TestedGpu(index);
}

}  // namespace fedtune
