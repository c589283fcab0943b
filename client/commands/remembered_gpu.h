// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/logging.h"
#include "client/config.h"
#include "client/training/compute_device.h"

namespace fedtune {

// Which GPU a client has computed on before, in its state directory: a GPU that is lost
// may be none to its driver, and then "auto" is the CPU as on any machine without one.

// Stores the device, if it is a GPU. That it cannot be stored is in the log.
void RememberGpu(const std::filesystem::path& state_dir, const ComputeDevice& device, Log& log);

// "cuda:0, NVIDIA L4", of the last start that found a GPU.
std::optional<std::string> RememberedGpu(const std::filesystem::path& state_dir);

// It, if there is one and "auto" finds none now.
std::optional<std::string> MissedGpu(const ClientConfig& config, const ComputeDevice& device);

}  // namespace fedtune
