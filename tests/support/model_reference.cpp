// SPDX-License-Identifier: Apache-2.0

#include "tests/support/model_reference.h"

#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "base/files.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/checkpoint/safetensors.h"

namespace fedtune::testing {
namespace {

constexpr std::string_view kPrefix = "base_model.model.";
constexpr std::string_view kSuffixA = ".lora_A.weight";
constexpr std::string_view kSuffixB = ".lora_B.weight";

std::string FactorName(const AdapterModule& module, Factor factor) {
  return fmt::format("{}{}{}", kPrefix, module.name, factor == Factor::kA ? kSuffixA : kSuffixB);
}

absl::StatusOr<std::vector<float>> Values(const SafetensorsFile& file, std::string_view name) {
  const TensorView* tensor = file.Find(name);
  if (tensor == nullptr) return absl::NotFoundError(fmt::format("no tensor {}", name));
  std::vector<float> values(static_cast<size_t>(tensor->value_count()));
  std::memcpy(values.data(), tensor->bytes.data(), tensor->bytes.size());
  return values;
}

absl::StatusOr<AdapterLayout> LayoutOf(const SafetensorsFile& file, double alpha) {
  std::vector<AdapterModule> modules;
  for (const TensorView& tensor : file.tensors()) {
    const std::string_view name = tensor.name;
    if (!name.starts_with(kPrefix) || !name.ends_with(kSuffixA)) continue;
    AdapterModule module;
    module.name = name.substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffixA.size());
    module.lora_rank = tensor.shape[0];
    module.in_features = tensor.shape[1];
    module.alpha = alpha;
    const TensorView* b = file.Find(FactorName(module, Factor::kB));
    if (b == nullptr) return absl::NotFoundError(fmt::format("no B for {}", module.name));
    module.out_features = b->shape[0];
    modules.push_back(std::move(module));
  }
  return AdapterLayout::Create(std::move(modules));
}

// All factors, or with "grad." their gradients, in the layout's order.
absl::StatusOr<std::vector<float>> FlatAdapter(const SafetensorsFile& file,
                                               const AdapterLayout& layout,
                                               std::string_view prefix) {
  std::vector<float> flat;
  for (const AdapterTensor& tensor : layout.tensors()) {
    const AdapterModule& module = layout.modules()[static_cast<size_t>(tensor.module_index)];
    ASSIGN_OR_RETURN(const std::vector<float> values,
                     Values(file, fmt::format("{}{}", prefix, FactorName(module, tensor.factor))));
    flat.insert(flat.end(), values.begin(), values.end());
  }
  return flat;
}

std::vector<TokenizedRecord> RecordsOf(const nlohmann::json& facts) {
  std::vector<TokenizedRecord> records;
  for (size_t i = 0; i < facts.at("token_ids").size(); ++i) {
    TokenizedRecord record;
    record.tokens = facts.at("token_ids")[i].get<std::vector<int32_t>>();
    record.is_target.resize(record.tokens.size());
    for (auto token = facts.at("prompt_lengths")[i].get<size_t>(); token < record.tokens.size();
         ++token) {
      record.is_target[token] = 1;
    }
    records.push_back(std::move(record));
  }
  return records;
}

}  // namespace

absl::StatusOr<ModelReference> ReadModelReference(const std::filesystem::path& directory) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(directory / "reference.json"));
  ASSIGN_OR_RETURN(const nlohmann::json facts, ParseJson(text, "reference.json"));
  ASSIGN_OR_RETURN(const SafetensorsFile file,
                   SafetensorsFile::Open(directory / "reference.safetensors"));
  ModelReference reference;
  reference.records = RecordsOf(facts);
  ASSIGN_OR_RETURN(reference.layout, LayoutOf(file, facts.at("alpha").get<double>()));
  ASSIGN_OR_RETURN(reference.adapter, FlatAdapter(file, reference.layout, ""));
  ASSIGN_OR_RETURN(reference.gradient, FlatAdapter(file, reference.layout, "grad."));
  reference.base_loss = facts.at("base_loss").get<double>();
  reference.loss = facts.at("loss").get<double>();
  if (const auto& deviation = facts.at("bf16_deviation"); !deviation.is_null()) {
    reference.bf16_deviation = deviation.get<double>();
  }
  reference.learning_rate = facts.at("adamw").at("lr").get<double>();
  reference.curve = facts.at("curve").get<std::vector<double>>();
  reference.curve_without_routed = facts.at("curve_without_routed").get<std::vector<double>>();
  for (size_t i = 0; i < reference.records.size(); ++i) {
    ASSIGN_OR_RETURN(auto base, Values(file, fmt::format("logits.{}", i)));
    ASSIGN_OR_RETURN(auto adapted, Values(file, fmt::format("adapted_logits.{}", i)));
    reference.base_logits.push_back(std::move(base));
    reference.adapted_logits.push_back(std::move(adapted));
  }
  return reference;
}

}  // namespace fedtune::testing
