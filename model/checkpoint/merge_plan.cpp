// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/merge_plan.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/files.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/checkpoint/expert_name.h"
#include "model/checkpoint/float_conversion.h"

namespace fedtune {
namespace {

constexpr char kConfigFile[] = "config.json";
constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kScale = "_scale_inv";
constexpr char kUnconverted[] = "modules_to_not_convert";

// Layers that vLLM computes as one.
constexpr std::array<std::array<std::string_view, 3>, 3> kTogether = {{
    {"gate_proj", "up_proj", ""},
    {"q_a_proj", "kv_a_proj_with_mqa", ""},
    {"q_proj", "k_proj", "v_proj"},
}};

std::string_view ModuleOf(std::string_view weight) {
  return weight.substr(0, weight.size() - kWeight.size());
}

// The modules that are of one type with `module`, itself among them.
std::vector<std::string> Siblings(std::string_view module) {
  const size_t dot = module.rfind('.');
  const std::string_view leaf = module.substr(dot + 1);
  const std::string_view parent = module.substr(0, dot + 1);
  std::vector<std::string> siblings;
  for (const auto& group : kTogether) {
    if (std::find(group.begin(), group.end(), leaf) == group.end()) continue;
    for (const std::string_view name : group) {
      if (!name.empty()) siblings.push_back(fmt::format("{}{}", parent, name));
    }
  }
  if (siblings.empty()) siblings.emplace_back(module);
  return siblings;
}

bool IsFp8(const TensorView* tensor) {
  return tensor != nullptr && tensor->type == TensorType::kF8E4M3;
}

template <typename Visit>
void ForEachTensor(const Checkpoint& checkpoint, Visit visit) {
  for (const SafetensorsFile& shard : checkpoint.shards()) {
    for (const TensorView& tensor : shard.tensors()) visit(tensor);
  }
}

}  // namespace

absl::StatusOr<MergePlan> MergePlan::Create(const Checkpoint& checkpoint,
                                            const AdapterLayout& layout,
                                            std::span<const float> values) {
  MergePlan plan(checkpoint);
  for (const AdapterTensor& tensor : layout.tensors()) {
    const AdapterModule& module = layout.modules()[static_cast<size_t>(tensor.module_index)];
    ASSIGN_OR_RETURN(const TensorView weight,
                     checkpoint.Get(fmt::format("{}{}", module.name, kWeight)));
    LowRankUpdate& update = plan.updates_[weight.name];
    update.module = &module;
    (tensor.factor == Factor::kA ? update.a : update.b) =
        values.subspan(static_cast<size_t>(tensor.offset), static_cast<size_t>(tensor.size()));
  }
  for (const auto& [name, update] : plan.updates_) {
    ASSIGN_OR_RETURN(const TensorType type, plan.CheckWeight(name, update));
    if (type == TensorType::kF8E4M3) RETURN_IF_ERROR(plan.Widen(name));
  }
  RETURN_IF_ERROR(plan.CheckScales());
  return plan;
}

absl::StatusOr<TensorType> MergePlan::CheckWeight(const std::string& name,
                                                  const LowRankUpdate& update) const {
  ASSIGN_OR_RETURN(const TensorView weight, checkpoint_->Get(name));
  const std::vector<int64_t> shape = {update.module->out_features, update.module->in_features};
  if (weight.shape != shape) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: tensor {} is {}, but the adapter is for {}", checkpoint_->directory().string(), name,
        ShapeToString(weight.shape), ShapeToString(shape)));
  }
  if (IsConvertibleToFloat(weight.type) || weight.type == TensorType::kF8E4M3) return weight.type;
  return absl::InvalidArgumentError(fmt::format(
      "{}: tensor {} is {}; adapters can be merged into F32, F16, BF16 and blocks of F8_E4M3",
      checkpoint_->directory().string(), name, ToString(weight.type)));
}

absl::Status MergePlan::Widen(const std::string& weight) {
  if (widened_.contains(weight)) return absl::OkStatus();
  if (!blocks_) {
    const std::filesystem::path file = checkpoint_->directory() / kConfigFile;
    ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
    ASSIGN_OR_RETURN(blocks_, ParseFp8Blocks(text, file.string()));
  }
  const std::string_view module = ModuleOf(weight);
  if (const auto expert = ExpertName::Parse(module)) {
    ForEachTensor(*checkpoint_, [&](const TensorView& tensor) {
      if (tensor.name.starts_with(expert->experts + ".") && IsFp8(&tensor)) {
        widened_.insert(tensor.name);
      }
    });
    return absl::OkStatus();
  }
  for (const std::string& sibling : Siblings(module)) {
    const std::string name = fmt::format("{}{}", sibling, kWeight);
    if (IsFp8(checkpoint_->Find(name))) widened_.insert(name);
  }
  return absl::OkStatus();
}

absl::Status MergePlan::CheckScales() const {
  for (const std::string& widened : widened_) {
    ASSIGN_OR_RETURN(const TensorView scale,
                     checkpoint_->Get(fmt::format("{}{}", widened, kScale)));
    const TensorView* wide = checkpoint_->Find(widened);
    if (wide->shape.size() != 2) {
      return absl::InvalidArgumentError(
          fmt::format("{}: tensor {} is {}; F8_E4M3 can only be read in blocks of a matrix",
                      checkpoint_->directory().string(), widened, ShapeToString(wide->shape)));
    }
    const std::vector<int64_t> blocks = {
        (wide->shape[0] + blocks_->rows - 1) / blocks_->rows,
        (wide->shape[1] + blocks_->columns - 1) / blocks_->columns};
    if (scale.shape == blocks && IsConvertibleToFloat(scale.type)) continue;
    return absl::InvalidArgumentError(fmt::format(
        "{}: tensor {} is {} of {}, but the blocks of the weight make it F32, F16 or BF16 of {}",
        checkpoint_->directory().string(), scale.name, ToString(scale.type),
        ShapeToString(scale.shape), ShapeToString(blocks)));
  }
  return absl::OkStatus();
}

bool MergePlan::Drops(std::string_view tensor) const {
  return tensor.ends_with(kScale) &&
         widened_.contains(tensor.substr(0, tensor.size() - kScale.size()));
}

const LowRankUpdate* MergePlan::UpdateOf(std::string_view tensor) const {
  const auto found = updates_.find(tensor);
  return found == updates_.end() ? nullptr : &found->second;
}

std::vector<TensorInfo> MergePlan::TensorsOf(const SafetensorsFile& shard) const {
  std::vector<TensorInfo> infos;
  infos.reserve(shard.tensors().size());
  for (const TensorView& tensor : shard.tensors()) {
    if (Drops(tensor.name)) continue;
    infos.push_back({.name = tensor.name,
                     .type = Widens(tensor.name) ? TensorType::kBF16 : tensor.type,
                     .shape = tensor.shape});
  }
  return infos;
}

absl::StatusOr<std::map<std::string, std::string>> MergePlan::ChangedFiles() const {
  std::map<std::string, std::string> files;
  if (widened_.empty()) return files;
  ASSIGN_OR_RETURN(files[kConfigFile], Config());
  std::error_code error;
  if (std::filesystem::exists(checkpoint_->directory() / kWeightsIndexFile, error)) {
    ASSIGN_OR_RETURN(files[kWeightsIndexFile], Index());
  }
  return files;
}

// What quantization_config must name: the widened layers, routed experts by their
// container, as transformers 5 and vLLM know them. With the first list of a
// configuration transformers' own rule ends, that the head is none of them.
std::set<std::string> MergePlan::UnconvertedModules(bool has_list) const {
  std::set<std::string> modules;
  for (const std::string& weight : widened_) {
    const auto expert = ExpertName::Parse(ModuleOf(weight));
    modules.insert(UsualName(expert ? expert->experts : ModuleOf(weight)));
  }
  if (has_list) return modules;
  ForEachTensor(*checkpoint_, [&](const TensorView& tensor) {
    if (tensor.name.ends_with(kWeight) && tensor.shape.size() == 2 && !IsFp8(&tensor)) {
      modules.insert(UsualName(ModuleOf(tensor.name)));
    }
  });
  return modules;
}

absl::StatusOr<std::string> MergePlan::Config() const {
  const std::filesystem::path path = checkpoint_->directory() / kConfigFile;
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  RETURN_IF_ERROR(ParseJson(text, path.string()).status());
  auto config = nlohmann::ordered_json::parse(text);
  auto& quantisation = config["quantization_config"];  // ParseFp8Blocks() has seen it.
  auto& list = quantisation[kUnconverted];
  const bool has_list = list.is_array();
  if (!has_list) list = nlohmann::ordered_json::array();
  for (const std::string& module : UnconvertedModules(has_list)) {
    if (std::find(list.begin(), list.end(), module) == list.end()) list.push_back(module);
  }
  return config.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

absl::StatusOr<std::string> MergePlan::Index() const {
  const std::filesystem::path path = checkpoint_->directory() / kWeightsIndexFile;
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  RETURN_IF_ERROR(ParseJson(text, path.string()).status());
  auto index = nlohmann::ordered_json::parse(text);
  int64_t bytes = 0;
  for (const SafetensorsFile& shard : checkpoint_->shards()) {
    for (const TensorView& tensor : shard.tensors()) {
      if (Drops(tensor.name)) index["weight_map"].erase(tensor.name);
    }
    for (const TensorInfo& tensor : TensorsOf(shard)) bytes += ByteCount(tensor);
  }
  if (index.contains("metadata") && index["metadata"].contains("total_size")) {
    index["metadata"]["total_size"] = bytes;
  }
  return index.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace fedtune
