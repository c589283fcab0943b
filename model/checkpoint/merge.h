// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <stop_token>

#include "absl/status/status.h"
#include "aggregation/adapter_layout.h"

namespace fedtune {

// Adds an adapter to the weights of a checkpoint: W + scale B A for every
// module of `layout`, computed in fp32 and rounded to the tensor's type; weights in
// blocks of FP8 become bf16, and with them those that must be of one type with
// them (MergePlan). Every other tensor, and the other files of the folder
// (configuration, tokenizer), are copied byte for byte; weights in other formats
// are left out, and sub-folders but for additional_chat_templates, where transformers
// keeps those that have names. `target` has the same shards as `base`. Memory does not grow with
// the model.
//
// `target` gets its name when it is complete; until then the files are in
// "<target>.partial" (PartialFolder()). Where an earlier call with the same base and adapter was
// killed or stopped, or its disk was full, the shards that it had completed are kept.
// `progress` is called with the share of bytes written.
//
// ALREADY_EXISTS: `target` is there and not an empty folder. NOT_FOUND: no
// such base, or a layer that it does not have. INVALID_ARGUMENT: as MergePlan, or a
// value too large for its type after merging. RESOURCE_EXHAUSTED: not enough space
// (says how much is needed), at the start or meanwhile; what is complete stays for the next
// call, if any shard is. CANCELLED: `stop` was requested; what is complete stays.
absl::Status MergeAdapter(const std::filesystem::path& base, const AdapterLayout& layout,
                          std::span<const float> values, const std::filesystem::path& target,
                          const std::function<void(double fraction)>& progress,
                          const std::stop_token& stop = {});

}  // namespace fedtune
