// SPDX-License-Identifier: Apache-2.0

#include <cuda_runtime_api.h>

#include <string>

#include "base/status_macros.h"
#include "c10/cuda/CUDACachingAllocator.h"
#include "c10/cuda/CUDAFunctions.h"
#include "c10/cuda/CUDAGuard.h"
#include "client/training/gpu.h"
#include "client/training/torch_errors.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

absl::Status ToStatus(cudaError_t error, int index) {
  if (error == cudaSuccess) return absl::OkStatus();
  return absl::InternalError(fmt::format("GPU {}: {}", index, cudaGetErrorString(error)));
}

}  // namespace

absl::StatusOr<int> CountGpus() {
  int count = 0, driver = 0;
  cudaError_t error = c10::cuda::GetDeviceCount(&count);
  if (error == cudaSuccess && count > 0) return count;
  if (error == cudaSuccess) error = cudaErrorNoDevice;
  const std::string why =
      fmt::format("{}; CUDA 13 needs NVIDIA's driver 580 or newer", cudaGetErrorString(error));
  const bool has_driver = cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0;
  if (has_driver && error != cudaErrorNoDevice) {
    return absl::FailedPreconditionError(fmt::format("CUDA cannot use the GPUs: {}", why));
  }
  return absl::NotFoundError(fmt::format("CUDA finds no GPU: {}", why));
}

absl::StatusOr<Gpu> DescribeGpu(int index) {
  return CatchingTorch([&]() -> absl::StatusOr<Gpu> {
    cudaDeviceProp properties;
    RETURN_IF_ERROR(ToStatus(cudaGetDeviceProperties(&properties, index), index));
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(index));
    size_t free = 0, total = 0;
    RETURN_IF_ERROR(ToStatus(cudaMemGetInfo(&free, &total), index));
    return Gpu{.name = properties.name,
               .memory_bytes = total,
               .free_memory_bytes = free,
               .has_bf16 = properties.major >= 8};
  });
}

absl::Status ReturnFreeGpuMemory() {
  return CatchingTorch([] {
    c10::cuda::CUDACachingAllocator::emptyCache();
    return absl::OkStatus();
  });
}

}  // namespace fedtune
