// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <functional>
#include <span>

#include "absl/status/status.h"
#include "aggregation/adapter_layout.h"

namespace fedtune {

// Whether the checkpoint in `merged` is what MergeAdapter() makes of `base` and the adapter,
// byte for byte: all tensors and their files' metadata, and all other files. Nothing is written.
// `progress` is called with the share of bytes compared.
//
// ABORTED: it is not; the message says what differs. NOT_FOUND, INVALID_ARGUMENT: as
// MergeAdapter() and Checkpoint::Open().
absl::Status CheckMerged(const std::filesystem::path& base, const AdapterLayout& layout,
                         std::span<const float> values, const std::filesystem::path& merged,
                         const std::function<void(double fraction)>& progress);

}  // namespace fedtune
