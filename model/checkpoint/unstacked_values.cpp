// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/unstacked_values.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <span>
#include <string_view>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/checkpoint/expert_name.h"

namespace fedtune {
namespace {

absl::Status Invalid(std::string_view name, std::string_view what) {
  return absl::InvalidArgumentError(fmt::format("module {} {}", name, what));
}

// One module as it is stored.
struct StoredModule {
  const AdapterModule* module = nullptr;
  std::span<const float> a;
  std::span<const float> b;
};

std::map<std::string_view, StoredModule> ModulesOf(const PeftAdapter& stored) {
  std::map<std::string_view, StoredModule> modules;
  for (const AdapterTensor& tensor : stored.layout.tensors()) {
    const auto& module = stored.layout.modules()[static_cast<size_t>(tensor.module_index)];
    const auto values =
        std::span(stored.values)
            .subspan(static_cast<size_t>(tensor.offset), static_cast<size_t>(tensor.size()));
    StoredModule& found = modules[module.name];
    found.module = &module;
    (tensor.factor == Factor::kA ? found.a : found.b) = values;
  }
  return modules;
}

bool IsZero(float value) { return value == 0; }

bool IsPowerOfTwo(double ratio) {
  int exponent = 0;
  return std::frexp(ratio, &exponent) == 0.5;
}

// What was added to give the module more ranks is zero.
bool HasRankOf(const StoredModule& stored, const AdapterModule& module) {
  const AdapterModule& found = *stored.module;
  const auto own = static_cast<size_t>(module.lora_rank);
  const auto rank = static_cast<size_t>(found.lora_rank);
  if (own == rank) return true;
  if (own > rank || !ExpertName::Parse(module.name)) return false;
  if (!std::ranges::all_of(stored.a.subspan(own * static_cast<size_t>(module.in_features)),
                           IsZero)) {
    return false;
  }
  for (size_t i = 0; i < stored.b.size(); ++i) {
    if (i % rank >= own && !IsZero(stored.b[i])) return false;
  }
  return true;
}

absl::Status AppendModule(const StoredModule& stored, const AdapterModule& module,
                          std::vector<float>& values) {
  const AdapterModule& found = *stored.module;
  if (found.in_features != module.in_features || found.out_features != module.out_features ||
      !HasRankOf(stored, module)) {
    return Invalid(module.name,
                   fmt::format("has rank {} from {} to {}, and not {} from {} to {}",
                               found.lora_rank, found.in_features, found.out_features,
                               module.lora_rank, module.in_features, module.out_features));
  }
  double ratio = module.scale() / found.scale();
  if (std::abs(ratio - 1) <= 1e-9) ratio = 1;  // The file has it as a decimal number.
  if (ratio != 1 && !ExpertName::Parse(module.name)) {
    return Invalid(module.name, fmt::format("has alpha {}, and not {}", found.alpha, module.alpha));
  }
  if (!IsPowerOfTwo(ratio)) {
    return absl::FailedPreconditionError(
        fmt::format("module {} was given another scale among the experts of its layer, which "
                    "rounds its values",
                    module.name));
  }
  const auto own = static_cast<size_t>(module.lora_rank);
  const auto rank = static_cast<size_t>(found.lora_rank);
  const auto a = stored.a.first(own * static_cast<size_t>(module.in_features));
  values.insert(values.end(), a.begin(), a.end());
  for (size_t i = 0; i < stored.b.size(); ++i) {
    if (i % rank < own) values.push_back(static_cast<float>(stored.b[i] / ratio));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<float>> UnstackedValues(const PeftAdapter& stored,
                                                   const AdapterLayout& layout) {
  std::map<std::string_view, StoredModule> modules = ModulesOf(stored);
  std::vector<float> values;
  values.reserve(static_cast<size_t>(layout.parameter_count()));
  for (const AdapterModule& module : layout.modules()) {
    const auto found = modules.find(module.name);
    if (found != modules.end()) {
      RETURN_IF_ERROR(AppendModule(found->second, module, values));
      modules.erase(found);
    } else if (ExpertName::Parse(module.name)) {
      // The reader takes zeros for what was added.
      const int64_t count = module.lora_rank * (module.in_features + module.out_features);
      values.resize(values.size() + static_cast<size_t>(count));
    } else {
      return Invalid(module.name, "is missing");
    }
  }
  if (modules.empty()) return values;
  return Invalid(modules.begin()->first, "is one more than the layout has");
}

}  // namespace fedtune
