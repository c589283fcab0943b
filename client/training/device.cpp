// SPDX-License-Identifier: Apache-2.0

#include "client/training/device.h"

#include "c10/core/Device.h"
#include "client/training/gpu.h"
#include "client/training/torch_errors.h"
#include "model/transformer/gpu_self_test.h"

namespace fedtune {
namespace {

absl::Status TestOne(int index) {
  return CatchingTorch(
      [&] { return TestGpu(c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index))); });
}

}  // namespace

absl::StatusOr<ComputeDevice> ChooseDevice(std::string_view name) {
  return ChooseDeviceAmong({CountGpus, DescribeGpu, TestOne}, name);
}

}  // namespace fedtune
