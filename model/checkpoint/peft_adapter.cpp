// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/peft_adapter.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/files.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/checkpoint/float_conversion.h"
#include "model/checkpoint/peft_config.h"
#include "model/checkpoint/safetensors.h"
#include "model/checkpoint/safetensors_writer.h"
#include "model/checkpoint/staged_folder.h"

namespace fedtune {
namespace {

constexpr char kConfigFile[] = "adapter_config.json";
constexpr char kWeightsFile[] = "adapter_model.safetensors";
constexpr std::string_view kPrefix = "base_model.model.";

std::string_view SuffixOf(Factor factor) {
  return factor == Factor::kA ? ".lora_A.weight" : ".lora_B.weight";
}

// The factor that a tensor's name stands for.
struct FactorName {
  std::string module;
  Factor factor = Factor::kA;
};

std::optional<FactorName> ParseFactorName(std::string_view tensor) {
  if (!tensor.starts_with(kPrefix)) return std::nullopt;
  tensor.remove_prefix(kPrefix.size());
  for (const Factor factor : {Factor::kA, Factor::kB}) {
    const std::string_view suffix = SuffixOf(factor);
    if (!tensor.ends_with(suffix) || tensor.size() == suffix.size()) continue;
    return FactorName{std::string(tensor.substr(0, tensor.size() - suffix.size())), factor};
  }
  return std::nullopt;
}

// Both factors of a module, in the order in which modules first appear.
struct FactorPair {
  std::string module;
  const TensorView* a = nullptr;
  const TensorView* b = nullptr;
};

absl::Status Invalid(std::string_view problem) {
  return absl::InvalidArgumentError(fmt::format("{}: {}", kWeightsFile, problem));
}

absl::Status CheckTensor(const TensorView& tensor, const std::optional<FactorName>& name) {
  if (!name) return Invalid(fmt::format("tensor {} is not a LoRA factor", tensor.name));
  if (name->module.ends_with(".experts") || name->module.ends_with(".base_layer")) {
    return Invalid(
        fmt::format("tensor {} holds fused factors of routed experts, which are not "
                    "supported; save one pair for each expert",
                    tensor.name));
  }
  if (tensor.shape.size() != 2) {
    return Invalid(
        fmt::format("tensor {} is {}, not a matrix", tensor.name, ShapeToString(tensor.shape)));
  }
  if (!IsConvertibleToFloat(tensor.type)) {
    return Invalid(fmt::format("tensor {} is {}; F32, F16 and BF16 are supported", tensor.name,
                               ToString(tensor.type)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<FactorPair>> FindPairs(const SafetensorsFile& file) {
  std::vector<FactorPair> pairs;
  std::map<std::string, size_t> places;
  for (const TensorView& tensor : file.tensors()) {
    const std::optional<FactorName> name = ParseFactorName(tensor.name);
    RETURN_IF_ERROR(CheckTensor(tensor, name));
    const auto [place, is_new] = places.try_emplace(name->module, pairs.size());
    if (is_new) pairs.push_back({.module = name->module});
    FactorPair& pair = pairs[place->second];
    (name->factor == Factor::kA ? pair.a : pair.b) = &tensor;
  }
  for (const FactorPair& pair : pairs) {
    if (pair.a != nullptr && pair.b != nullptr) continue;
    return Invalid(fmt::format("tensor {}{}{} is missing", kPrefix, pair.module,
                               SuffixOf(pair.a == nullptr ? Factor::kA : Factor::kB)));
  }
  return pairs;
}

absl::StatusOr<AdapterModule> ModuleOf(const FactorPair& pair, const PeftConfig& config) {
  const int64_t rank = pair.a->shape[0];
  if (pair.b->shape[1] != rank) {
    return Invalid(fmt::format("tensors {} {} and {} {} differ in rank", pair.a->name,
                               ShapeToString(pair.a->shape), pair.b->name,
                               ShapeToString(pair.b->shape)));
  }
  if (config.RankOf(pair.module) != rank) {
    return Invalid(fmt::format("tensor {} has rank {}, but {} says {}", pair.a->name, rank,
                               kConfigFile, config.RankOf(pair.module)));
  }
  return AdapterModule{.name = pair.module,
                       .in_features = pair.a->shape[1],
                       .out_features = pair.b->shape[0],
                       .lora_rank = rank,
                       .alpha = config.AlphaOf(pair.module)};
}

// Appends the tensor's values, all finite.
absl::Status Append(const TensorView& tensor, std::vector<float>& values) {
  const size_t start = values.size();
  values.resize(start + static_cast<size_t>(tensor.value_count()));
  const std::span<float> added = std::span(values).subspan(start);
  DecodeFloats(tensor.type, tensor.bytes, added);
  const auto bad =
      std::find_if_not(added.begin(), added.end(), [](float v) { return std::isfinite(v); });
  if (bad == added.end()) return absl::OkStatus();
  return Invalid(fmt::format("tensor {} has the value {} at index {}", tensor.name, *bad,
                             bad - added.begin()));
}

absl::Status CheckModule(const AdapterModule& found, const AdapterModule& expected) {
  const auto shape = [](const AdapterModule& module) {
    return fmt::format("rank {} from {} to {}", module.lora_rank, module.in_features,
                       module.out_features);
  };
  if (shape(found) != shape(expected)) {
    return Invalid(fmt::format("module {} has {}; {} was expected", found.name, shape(found),
                               shape(expected)));
  }
  if (std::abs(found.scale() - expected.scale()) <= 1e-9 * std::abs(expected.scale())) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(fmt::format("{}: module {} has alpha {}; {} was expected",
                                                kConfigFile, found.name, found.alpha,
                                                expected.alpha));
}

// Where each module's A starts in the flat vector; its B follows.
std::map<std::string_view, int64_t> OffsetsOf(const AdapterLayout& layout) {
  std::map<std::string_view, int64_t> offsets;
  for (const AdapterTensor& tensor : layout.tensors()) {
    if (tensor.factor != Factor::kA) continue;
    offsets[layout.modules()[static_cast<size_t>(tensor.module_index)].name] = tensor.offset;
  }
  return offsets;
}

}  // namespace

absl::Status WritePeftAdapter(const std::filesystem::path& directory, const AdapterLayout& layout,
                              std::span<const float> values, std::string_view base_model) {
  Check(values.size() == static_cast<size_t>(layout.parameter_count()),
        "an adapter has as many values as its layout");
  ASSIGN_OR_RETURN(const std::string config, PeftConfigJson(layout, base_model));
  std::vector<TensorView> tensors;
  tensors.reserve(layout.tensors().size());
  for (const AdapterTensor& tensor : layout.tensors()) {
    const auto& module = layout.modules()[static_cast<size_t>(tensor.module_index)].name;
    const auto part =
        values.subspan(static_cast<size_t>(tensor.offset), static_cast<size_t>(tensor.size()));
    tensors.push_back({.name = fmt::format("{}{}{}", kPrefix, module, SuffixOf(tensor.factor)),
                       .type = TensorType::kF32,
                       .shape = {tensor.rows, tensor.columns},
                       .bytes = std::as_bytes(part)});
  }
  ASSIGN_OR_RETURN(StagedFolder folder, StagedFolder::Create(directory));
  RETURN_IF_ERROR(WriteSafetensors(folder.path() / kWeightsFile, tensors, {{"format", "pt"}}));
  RETURN_IF_ERROR(WriteFileAtomically(folder.path() / kConfigFile, config));
  return std::move(folder).Commit();
}

absl::StatusOr<PeftAdapter> ReadPeftAdapter(const std::filesystem::path& directory) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(directory / kConfigFile));
  ASSIGN_OR_RETURN(const PeftConfig config, ParsePeftConfig(text, kConfigFile));
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(directory / kWeightsFile));
  ASSIGN_OR_RETURN(const std::vector<FactorPair> pairs, FindPairs(file));
  std::vector<AdapterModule> modules;
  modules.reserve(pairs.size());
  PeftAdapter adapter{.layout = {}, .values = {}, .base_model = config.base_model};
  for (const FactorPair& pair : pairs) {
    ASSIGN_OR_RETURN(AdapterModule module, ModuleOf(pair, config));
    modules.push_back(std::move(module));
    RETURN_IF_ERROR(Append(*pair.a, adapter.values));
    RETURN_IF_ERROR(Append(*pair.b, adapter.values));
  }
  absl::StatusOr<AdapterLayout> layout = AdapterLayout::Create(std::move(modules));
  if (!layout.ok()) return Invalid(std::string(layout.status().message()));
  adapter.layout = *std::move(layout);
  return adapter;
}

absl::StatusOr<std::vector<float>> ReadPeftAdapter(const std::filesystem::path& directory,
                                                   const AdapterLayout& layout) {
  ASSIGN_OR_RETURN(const PeftAdapter adapter, ReadPeftAdapter(directory));
  std::map<std::string_view, int64_t> places = OffsetsOf(adapter.layout);
  std::map<std::string_view, const AdapterModule*> found;
  for (const AdapterModule& module : adapter.layout.modules()) found[module.name] = &module;
  std::vector<float> values;
  values.reserve(static_cast<size_t>(layout.parameter_count()));
  for (const AdapterModule& module : layout.modules()) {
    const auto match = found.find(module.name);
    if (match == found.end()) return Invalid(fmt::format("module {} is missing", module.name));
    RETURN_IF_ERROR(CheckModule(*match->second, module));
    const auto start = adapter.values.begin() + places[module.name];
    values.insert(values.end(), start,
                  start + module.lora_rank * (module.in_features + module.out_features));
    found.erase(match);
  }
  if (found.empty()) return values;
  return Invalid(fmt::format("module {} was not expected", found.begin()->first));
}

}  // namespace fedtune
