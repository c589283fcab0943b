// SPDX-License-Identifier: Apache-2.0

#include "client/training/device.h"

#include "base/cpu.h"
#include "base/status_macros.h"
#include "c10/core/Device.h"
#include "client/training/gpu.h"
#include "client/training/gpu_settings.h"
#include "client/training/torch_errors.h"
#include "client/training/training_device_tests.h"
#include "model/transformer/transformer_device_tests.h"

namespace fedtune {
namespace {

absl::Status TestGpu(int index) {
  return CatchingTorch([&] {
    ApplyGpuSettings();
    const c10::Device device(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
    RETURN_IF_ERROR(RunDeviceTests(TransformerDeviceTests(), device));
    RETURN_IF_ERROR(RunDeviceTests(TrainingDeviceTests(), device));
    return ReturnFreeGpuMemory();
  });
}

}  // namespace

absl::StatusOr<ComputeDevice> ChooseDevice(std::string_view name) {
  RETURN_IF_ERROR(CheckCpuVariable());
  return ChooseDeviceAmong({CountGpus, DescribeGpu, TestGpu}, name);
}

}  // namespace fedtune
