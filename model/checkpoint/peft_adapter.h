// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregation/adapter_layout.h"
#include "model/checkpoint/checkpoint.h"

namespace fedtune {

// The layout by which the values of a folder are those of a release, as ToJson() writes it:
// the release's digest is that of its values in this order. peft does not look at it.
inline constexpr char kAdapterLayoutFile[] = "fedtune_layout.json";

// An adapter as PEFT stores it: adapter_config.json and
// adapter_model.safetensors, with one pair of factors for each module. Those of
// routed experts are stored one by one, or fused as peft trains them under
// transformers 5 (model/checkpoint/peft_experts.h).
struct PeftAdapter {
  AdapterLayout layout;        // In the order of the file.
  std::vector<float> values;   // As the layout says.
  std::string base_model;      // The name it was trained from; may be empty.
  int64_t stored_count = 0;    // How many values the file has, with those that were left out.
  bool may_leave_out = false;  // By an expression for its modules that RE2 does not have.
};

// How routed experts are stored. peft 0.21 reads both; vLLM and peft under
// transformers 4 read kSingle.
enum class PeftExperts : uint8_t { kSingle, kFused };

struct PeftForm {
  PeftExperts experts = PeftExperts::kSingle;
  bool rslora = false;  // Say use_rslora.
  // How many routed experts a layer of the base model has. Absent: at least as many
  // as the adapter. Of a base without any, peft adapts all layers as plain modules.
  std::optional<int64_t> expert_count = std::nullopt;
};

// Writes a folder that peft's PeftModel.from_pretrained() loads completely.
// `values` must be as many as the layout has, which lies beside them. peft adapts all routed
// experts of a layer alike; where the adapter does not, factors of zeros are added. Nothing
// half-written gets the folder's name.
//
// ALREADY_EXISTS: the folder is there and not empty. INVALID_ARGUMENT: as
// StackExperts(). RESOURCE_EXHAUSTED: the disk is full. CANCELLED: a stop was requested;
// nothing is left of what was written.
absl::Status WritePeftAdapter(const std::filesystem::path& directory, const AdapterLayout& layout,
                              std::span<const float> values, std::string_view base_model,
                              const PeftForm& form = {}, const std::stop_token& stop = {});

// Reads any such folder; factors in F64, which are rounded, F32, F16 or BF16. Projections of
// routed experts whose factors are all zero are left out. An alpha of zero or less, as peft
// takes it, goes into B.
//
// NOT_FOUND: a file is missing. INVALID_ARGUMENT: names the tensor that is
// missing, unknown, of the wrong shape or has a value that is not finite.
absl::StatusOr<PeftAdapter> ReadPeftAdapter(const std::filesystem::path& directory);

// The same, with `base` at hand: the file may hold weights beside the factors, as peft
// stores them, if they are those of the base model (stored_base_weights.h).
absl::StatusOr<PeftAdapter> ReadPeftAdapter(const std::filesystem::path& directory,
                                            const Checkpoint& base);

// The same, in the order of `layout`, which names exactly the modules that must
// be there, with their ranks and scales.
absl::StatusOr<std::vector<float>> ReadPeftAdapter(const std::filesystem::path& directory,
                                                   const AdapterLayout& layout);

}  // namespace fedtune
