// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fedtune {

struct Gpu {
  std::string name;  // "NVIDIA H100 80GB HBM3"
  uint64_t memory_bytes = 0;
  uint64_t free_memory_bytes = 0;  // Once CUDA and the self-test have taken theirs.
  bool has_bf16 = false;           // In hardware: compute capability 8.0 or higher.
};

// How GPUs are counted (CountGpus; NOT_FOUND: there is none), described (DescribeGpu) and tested:
// OK, or what one of them computes wrongly.
struct GpuAccess {
  std::function<absl::StatusOr<int>()> count;
  std::function<absl::StatusOr<Gpu>(int index)> describe;
  std::function<absl::Status(int index)> test;
};

// What a trainer computes on: the CPU, or a GPU that passed its self-test.
// ChooseDevice() is the only way to get one of the latter. Copyable.
class ComputeDevice {
 public:
  static ComputeDevice Cpu() { return ComputeDevice("cpu"); }

  // "cpu" or "cuda:1".
  const std::string& kind() const { return kind_; }

  bool is_gpu() const { return kind_ != "cpu"; }

  // Only if it is one.
  const Gpu& gpu() const { return gpu_; }

  // How it was chosen, for people: "self-test passed in 0.8 s"; may be empty.
  const std::string& remark() const { return remark_; }

  // "auto" found a GPU, or a driver that fails, and this is the CPU instead: the remark
  // says why, and somebody should read it.
  bool is_fallback() const { return is_fallback_; }

 private:
  friend absl::StatusOr<ComputeDevice> ChooseDeviceAmong(const GpuAccess& gpus,
                                                         std::string_view name);

  explicit ComputeDevice(std::string kind) : kind_(std::move(kind)) {}

  std::string kind_;
  Gpu gpu_;
  std::string remark_;
  bool is_fallback_ = false;
};

// The device that "auto", "cpu", "cuda" (the first GPU) or "cuda:1" stands for.
// "auto" is the first GPU if there is one that passes its self-test, else the
// CPU.
//
// INVALID_ARGUMENT: not such a name. FAILED_PRECONDITION: there is no such GPU,
// or it cannot be used (says why).
absl::StatusOr<ComputeDevice> ChooseDeviceAmong(const GpuAccess& gpus, std::string_view name);

// "cuda:0, NVIDIA L4, 24 GB of which 23 GB are free, self-test passed in 0.8 s".
std::string Describe(const ComputeDevice& device);

}  // namespace fedtune
