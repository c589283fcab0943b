// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/unstacked_values.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
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

// The file has scales as decimal numbers.
bool IsNearly(double value, double expected) {
  return std::abs(value - expected) <= 1e-9 * std::abs(expected);
}

// The power of two that `ratio` is but for the digits that the file leaves out, if it is one.
std::optional<double> PowerOfTwo(double ratio) {
  if (!std::isfinite(ratio) || ratio <= 0) return std::nullopt;
  const double power = std::exp2(std::round(std::log2(ratio)));
  return IsNearly(ratio, power) ? std::optional(power) : std::nullopt;
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

// What B of a routed expert was multiplied by when it got the scale of another in its layer; 1
// for all else. `layout` is the one that `module` is of.
absl::StatusOr<double> RatioOf(const AdapterModule& found, const AdapterModule& module,
                               const AdapterLayout& layout) {
  const double ratio = module.scale() / found.scale();
  const auto power = PowerOfTwo(ratio);
  const auto expert = ExpertName::Parse(module.name);
  if (power && (expert || *power == 1)) return *power;
  const bool is_anothers =
      expert && std::ranges::any_of(layout.modules(), [&](const AdapterModule& other) {
        const auto neighbour = ExpertName::Parse(other.name);
        return neighbour && neighbour->FusedParameter() == expert->FusedParameter() &&
               IsNearly(found.scale(), other.scale());
      });
  if (!is_anothers) {
    return Invalid(module.name,
                   fmt::format("has the scale {}, and not {}", found.scale(), module.scale()));
  }
  return absl::FailedPreconditionError(
      fmt::format("module {} was given another scale among the experts of its layer, which "
                  "rounds its values",
                  module.name));
}

absl::Status AppendModule(const StoredModule& stored, const AdapterModule& module,
                          const AdapterLayout& layout, std::vector<float>& values) {
  const AdapterModule& found = *stored.module;
  if (found.in_features != module.in_features || found.out_features != module.out_features ||
      !HasRankOf(stored, module)) {
    return Invalid(module.name,
                   fmt::format("has rank {} from {} to {}, and not {} from {} to {}",
                               found.lora_rank, found.in_features, found.out_features,
                               module.lora_rank, module.in_features, module.out_features));
  }
  ASSIGN_OR_RETURN(const double ratio, RatioOf(found, module, layout));
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
  if (stored.may_leave_out) {
    return absl::InvalidArgumentError(
        "its configuration has an expression for modules that looks ahead or the like, so that "
        "nobody can tell which of them peft would load");
  }
  // Before room is made for them: nobody has checked what the layout says.
  if (layout.parameter_count() > stored.stored_count) {
    return absl::InvalidArgumentError(fmt::format("it has {} values, and not {} or more",
                                                  stored.stored_count, layout.parameter_count()));
  }
  std::map<std::string_view, StoredModule> modules = ModulesOf(stored);
  std::vector<float> values;
  values.reserve(static_cast<size_t>(layout.parameter_count()));
  for (const AdapterModule& module : layout.modules()) {
    const auto found = modules.find(module.name);
    if (found != modules.end()) {
      RETURN_IF_ERROR(AppendModule(found->second, module, layout, values));
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
