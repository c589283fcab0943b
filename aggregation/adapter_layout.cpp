// SPDX-License-Identifier: Apache-2.0

#include "aggregation/adapter_layout.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr int64_t kMaxFeatures = int64_t{1} << 31;
constexpr int64_t kMaxValues = int64_t{1} << 40;
constexpr size_t kMaxNameLength = 512;

// Where a layer's sizes are smaller, factors may have more ranks than they can use, as peft's.
constexpr int64_t kAnyLayersRank = 4096;

// Names stand in JSON, messages and file formats as they are.
bool IsPlainName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameLength &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return c > ' ' && c < 0x7f && c != '"' && c != '\\'; });
}

absl::Status CheckModule(const AdapterModule& module) {
  const auto invalid = [&](std::string_view what) {
    return absl::InvalidArgumentError(fmt::format("adapter module \"{}\": {}", module.name, what));
  };
  if (!IsPlainName(module.name)) {
    return absl::InvalidArgumentError(
        "an adapter module's name must be 1 to 512 printable characters without spaces, quotes "
        "and backslashes");
  }
  if (module.in_features < 1 || module.in_features > kMaxFeatures) {
    return invalid(fmt::format("in_features {} is not in 1 to 2^31", module.in_features));
  }
  if (module.out_features < 1 || module.out_features > kMaxFeatures) {
    return invalid(fmt::format("out_features {} is not in 1 to 2^31", module.out_features));
  }
  if (module.lora_rank < 1) return invalid("lora_rank must be at least 1");
  const int64_t most = std::max({module.in_features, module.out_features, kAnyLayersRank});
  if (module.lora_rank > most) {
    return invalid(fmt::format("lora_rank {} is above {}", module.lora_rank, most));
  }
  if (!std::isfinite(module.alpha) || module.alpha <= 0) {
    return invalid("alpha must be a positive number");
  }
  return absl::OkStatus();
}

absl::StatusOr<AdapterModule> ModuleFromJson(const nlohmann::json& json) {
  const auto is_whole = [&](const char* key) {
    return json.contains(key) && json[key].is_number_integer();
  };
  if (!json.is_object() || json.size() != 5 || !json.contains("name") ||
      !json["name"].is_string() || !is_whole("in_features") || !is_whole("out_features") ||
      !is_whole("lora_rank") || !json.contains("alpha") || !json["alpha"].is_number()) {
    return absl::InvalidArgumentError(
        "adapter layout: every module needs name, in_features, out_features, lora_rank and alpha, "
        "and nothing else");
  }
  return AdapterModule{.name = json["name"].get<std::string>(),
                       .in_features = json["in_features"].get<int64_t>(),
                       .out_features = json["out_features"].get<int64_t>(),
                       .lora_rank = json["lora_rank"].get<int64_t>(),
                       .alpha = json["alpha"].get<double>()};
}

}  // namespace

bool Contains(FactorSet set, Factor factor) {
  return (static_cast<uint8_t>(set) & static_cast<uint8_t>(factor)) != 0;
}

absl::StatusOr<AdapterLayout> AdapterLayout::Create(std::vector<AdapterModule> modules) {
  if (modules.empty()) return absl::InvalidArgumentError("an adapter needs at least one module");
  AdapterLayout layout;
  std::set<std::string_view> names;
  for (size_t i = 0; i < modules.size(); ++i) {
    const AdapterModule& module = modules[i];
    RETURN_IF_ERROR(CheckModule(module));
    if (!names.insert(module.name).second) {
      return absl::InvalidArgumentError(
          fmt::format("adapter module \"{}\" occurs twice", module.name));
    }
    const AdapterTensor factors[] = {{.module_index = static_cast<int64_t>(i),
                                      .factor = Factor::kA,
                                      .rows = module.lora_rank,
                                      .columns = module.in_features},
                                     {.module_index = static_cast<int64_t>(i),
                                      .factor = Factor::kB,
                                      .rows = module.out_features,
                                      .columns = module.lora_rank}};
    for (const AdapterTensor& tensor : factors) RETURN_IF_ERROR(layout.Append(tensor));
  }
  layout.modules_ = std::move(modules);
  return layout;
}

absl::Status AdapterLayout::Append(AdapterTensor tensor) {
  // Both sizes are at most 2^31, so their product fits.
  if (tensor.size() > kMaxValues - parameter_count_) {
    return absl::InvalidArgumentError("an adapter may have at most 2^40 values");
  }
  tensor.offset = parameter_count_;
  parameter_count_ += tensor.size();
  tensors_.push_back(tensor);
  return absl::OkStatus();
}

absl::StatusOr<AdapterLayout> AdapterLayout::FromJson(std::string_view json) {
  ASSIGN_OR_RETURN(const nlohmann::json parsed, ParseJson(json, "adapter layout"));
  if (!parsed.is_object() || !parsed.contains("modules") || !parsed["modules"].is_array()) {
    return absl::InvalidArgumentError("adapter layout: a list \"modules\" is missing");
  }
  std::vector<AdapterModule> modules;
  modules.reserve(parsed["modules"].size());
  for (const nlohmann::json& item : parsed["modules"]) {
    ASSIGN_OR_RETURN(modules.emplace_back(), ModuleFromJson(item));
  }
  ASSIGN_OR_RETURN(AdapterLayout layout, Create(std::move(modules)));
  // One layout has one text, and so one digest.
  if (layout.ToJson() != json) {
    return absl::InvalidArgumentError("adapter layout: not in canonical form");
  }
  return layout;
}

std::string AdapterLayout::ToJson() const {
  std::string json = "{\"modules\":[";
  for (const AdapterModule& module : modules_) {
    if (json.back() == '}') json += ',';
    fmt::format_to(std::back_inserter(json),
                   "{{\"name\":\"{}\",\"in_features\":{},\"out_features\":{},\"lora_rank\":{},"
                   "\"alpha\":{}}}",
                   module.name, module.in_features, module.out_features, module.lora_rank,
                   module.alpha);
  }
  json += "]}";
  return json;
}

int64_t AdapterLayout::parameter_count(FactorSet factors) const {
  int64_t count = 0;
  for (const AdapterTensor& tensor : tensors_) {
    if (Contains(factors, tensor.factor)) count += tensor.size();
  }
  return count;
}

}  // namespace fedtune
