// SPDX-License-Identifier: Apache-2.0

#include "client/training/torch_model.h"

#include <utility>

#include "ATen/Parallel.h"
#include "base/status_macros.h"
#include "base/usable_cores.h"
#include "c10/core/Device.h"
#include "client/training/gpu.h"

namespace fedtune {
absl::StatusOr<TorchModel> OpenTorchModel(const TorchTrainerOptions& options, ModelForm on_cpu) {
  const int threads = options.threads > 0 ? options.threads : UsableCores();
  at::set_num_threads(threads);
  const at::Device device(options.device.kind());
  ASSIGN_OR_RETURN(Model model, LoadModel(options.model_directory, device,
                                          device.is_cpu() ? on_cpu : ModelForm::kForGpu));
  if (!device.is_cpu()) RETURN_IF_ERROR(ReturnFreeGpuMemory());
  return TorchModel{std::move(model), threads};
}

}  // namespace fedtune
