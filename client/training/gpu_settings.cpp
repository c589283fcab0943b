// SPDX-License-Identifier: Apache-2.0

#include "client/training/gpu_settings.h"

#include "ATen/Context.h"

namespace fedtune {

void ApplyGpuSettings() {
  at::globalContext().setSDPUseCuDNN(false);
  at::globalContext().setFloat32MatmulPrecision("highest");
}

}  // namespace fedtune
