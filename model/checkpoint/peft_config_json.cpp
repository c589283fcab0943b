// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/checkpoint/expert_name.h"
#include "model/checkpoint/peft_config.h"
#include "nlohmann/json.hpp"

namespace fedtune {
namespace {

using nlohmann::json;

// Numbers that are whole are written so.
json Number(double value) {
  const bool whole = value == std::floor(value) && std::abs(value) < 1e15;
  return whole ? json(static_cast<int64_t>(value)) : json(value);
}

// Rank and alpha of the factors that peft keeps for one module or parameter.
struct Factors {
  int64_t rank = 0;
  double alpha = 0;

  friend bool operator==(const Factors&, const Factors&) = default;
  friend bool operator<(const Factors& a, const Factors& b) {
    return std::tie(a.rank, a.alpha) < std::tie(b.rank, b.alpha);
  }
};

// One layer's routed experts, as peft stacks them.
struct ExpertStack {
  Factors factors;
  std::map<int64_t, int> projections;  // Of each expert: 1 gate, 2 up, 4 down.
};

// Sorts the modules of a layout into what adapter_config.json has to say.
class PeftTargets {
 public:
  absl::Status Add(const AdapterModule& module) {
    const Factors factors = {module.lora_rank, module.alpha};
    if (const auto expert = ExpertName::Parse(module.name)) return AddExpert(*expert, factors);
    ++votes_[factors];
    if (IsMlpProjection(module.name)) {
      parameters_.push_back(module.name + ".weight");
      patterns_[module.name + ".weight"] = factors;
    } else {
      modules_.push_back(module.name);
      patterns_[module.name] = factors;
    }
    return absl::OkStatus();
  }

  absl::Status Finish() {
    for (const auto& [name, stack] : stacks_) {
      RETURN_IF_ERROR(CheckStack(name, stack));
      RETURN_IF_ERROR(AddStack(name, stack.factors, stack.projections.begin()->second));
    }
    return absl::OkStatus();
  }

  // The most frequent rank and alpha.
  Factors Usual() const {
    const auto most = std::max_element(votes_.begin(), votes_.end(),
                                       [](auto& a, auto& b) { return a.second < b.second; });
    return most == votes_.end() ? stacks_.begin()->second.factors : most->first;
  }

  json Ranks() const {
    json ranks = json::object();
    for (const auto& [name, factors] : patterns_) {
      if (IsFused(name) || factors.rank != Usual().rank) ranks[name] = factors.rank;
    }
    return ranks;
  }

  json Alphas() const {
    json alphas = json::object();
    for (const auto& [name, factors] : patterns_) {
      if (IsFused(name) || factors.alpha != Usual().alpha) alphas[name] = Number(factors.alpha);
    }
    return alphas;
  }

  const std::vector<std::string>& modules() const { return modules_; }
  const std::vector<std::string>& parameters() const { return parameters_; }

 private:
  // peft takes these names in target_modules for the routed experts, so they
  // have to be named as parameters.
  static bool IsMlpProjection(std::string_view name) {
    return name.ends_with(".gate_proj") || name.ends_with(".up_proj") ||
           name.ends_with(".down_proj");
  }

  bool IsFused(const std::string& parameter) const {
    return stacks_.contains(parameter.substr(0, parameter.rfind('.')));
  }

  absl::Status AddExpert(const ExpertName& expert, const Factors& factors) {
    const auto [found, is_new] = stacks_.try_emplace(expert.experts, ExpertStack{factors, {}});
    if (found->second.factors != factors) {
      return absl::InvalidArgumentError(
          fmt::format("{}: peft stacks a layer's experts, so all must have one rank and alpha",
                      expert.experts));
    }
    const int bit = expert.projection == "gate_proj" ? 1 : expert.projection == "up_proj" ? 2 : 4;
    found->second.projections[expert.index] |= bit;
    return absl::OkStatus();
  }

  // Experts from 0 on, all with the same projections.
  static absl::Status CheckStack(const std::string& name, const ExpertStack& stack) {
    int64_t expected = 0;
    for (const auto& [index, projections] : stack.projections) {
      if (index == expected && projections == stack.projections.begin()->second) {
        ++expected;
        continue;
      }
      return absl::InvalidArgumentError(
          fmt::format("{}: peft stacks a layer's experts, so all of them must be adapted alike, "
                      "but expert {} is not",
                      name, expected));
    }
    return absl::OkStatus();
  }

  absl::Status AddStack(const std::string& name, const Factors& factors, int projections) {
    const int gate_and_up = projections & 3;
    if (gate_and_up == 1 || gate_and_up == 2) {
      return absl::InvalidArgumentError(fmt::format(
          "{}: peft fuses gate_proj and up_proj, so both must be adapted or neither", name));
    }
    if (gate_and_up == 3) AddFused(name + ".gate_up_proj", {2 * factors.rank, 2 * factors.alpha});
    if ((projections & 4) != 0) AddFused(name + ".down_proj", factors);
    return absl::OkStatus();
  }

  void AddFused(const std::string& parameter, const Factors& factors) {
    parameters_.push_back(parameter);
    patterns_[parameter] = factors;
  }

  std::vector<std::string> modules_;
  std::vector<std::string> parameters_;
  std::map<std::string, Factors> patterns_;
  std::map<std::string, ExpertStack> stacks_;
  std::map<Factors, int64_t> votes_;
};

}  // namespace

absl::StatusOr<std::string> PeftConfigJson(const AdapterLayout& layout,
                                           std::string_view base_model) {
  PeftTargets targets;
  for (const AdapterModule& module : layout.modules()) RETURN_IF_ERROR(targets.Add(module));
  RETURN_IF_ERROR(targets.Finish());
  const Factors usual = targets.Usual();
  const nlohmann::ordered_json config = {{"peft_type", "LORA"},
                                         {"task_type", "CAUSAL_LM"},
                                         {"base_model_name_or_path", std::string(base_model)},
                                         {"inference_mode", true},
                                         {"r", usual.rank},
                                         {"lora_alpha", Number(usual.alpha)},
                                         {"lora_dropout", 0.0},
                                         {"bias", "none"},
                                         {"target_modules", targets.modules()},
                                         {"target_parameters", targets.parameters()},
                                         {"rank_pattern", targets.Ranks()},
                                         {"alpha_pattern", targets.Alphas()}};
  return config.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace fedtune
