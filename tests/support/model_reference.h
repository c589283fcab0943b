// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "aggregation/adapter_layout.h"
#include "client/data/tokenized_record.h"

namespace fedtune::testing {

// What transformers and peft computed with one model: the golden files that
// tests/interop/make_model_goldens.py writes.
struct ModelReference {
  std::vector<TokenizedRecord> records;  // Prompts, with answers as targets.

  // An adapter and the gradient of the records' mean loss per answer token.
  AdapterLayout layout;
  std::vector<float> adapter;
  std::vector<float> gradient;
  double base_loss = 0;
  double loss = 0;

  // Of each record, row-major: of the base model, and with the adapter.
  std::vector<std::vector<float>> base_logits;
  std::vector<std::vector<float>> adapted_logits;

  // How far their logits of the base model in bf16 are from these: root mean square.
  std::optional<double> bf16_deviation = std::nullopt;

  // The loss before each AdamW step on all records together.
  double learning_rate = 0;
  std::vector<double> curve;
  std::vector<double> curve_without_routed;  // Factors of routed experts left out.
};

// Reads reference.json and reference.safetensors in `directory`.
absl::StatusOr<ModelReference> ReadModelReference(const std::filesystem::path& directory);

}  // namespace fedtune::testing
