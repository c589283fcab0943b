// SPDX-License-Identifier: Apache-2.0

#include "base/check.h"
#include "client/training/gpu.h"

namespace fedtune {

absl::StatusOr<int> CountGpus() {
  return absl::NotFoundError("this program was built without CUDA");
}

absl::StatusOr<Gpu> DescribeGpu(int /*index*/) {
  Check(false, "a build without CUDA has no GPU to describe");
  return Gpu();
}

absl::Status ReturnFreeGpuMemory() { return absl::OkStatus(); }

}  // namespace fedtune
