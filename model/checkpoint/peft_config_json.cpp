// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

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

  friend bool operator<(const Factors& a, const Factors& b) {
    return std::tie(a.rank, a.alpha) < std::tie(b.rank, b.alpha);
  }
};

// Sorts the modules of a layout into what adapter_config.json has to say.
class PeftTargets {
 public:
  explicit PeftTargets(const PeftConfigForm& form) : form_(form) {}

  void Add(const AdapterModule& module) {
    if (const auto expert = ExpertName::Parse(module.name)) return AddExpert(*expert, module);
    const Factors factors = FactorsOf(module, 1);
    ++votes_[factors];
    if (form_.base_has_experts && IsMlpProjection(module.name)) {
      parameters_.push_back(module.name + ".weight");
      patterns_[module.name + ".weight"] = factors;
    } else {
      modules_.push_back(module.name);
      patterns_[module.name] = factors;
    }
  }

  // The most frequent rank and alpha.
  Factors Usual() const {
    const auto most = std::max_element(votes_.begin(), votes_.end(),
                                       [](auto& a, auto& b) { return a.second < b.second; });
    return most == votes_.end() ? patterns_.begin()->second : most->first;
  }

  json Ranks() const {
    json ranks = json::object();
    for (const auto& [name, factors] : patterns_) {
      if (fused_.contains(name) || factors.rank != Usual().rank) ranks[name] = factors.rank;
    }
    return ranks;
  }

  json Alphas() const {
    json alphas = json::object();
    for (const auto& [name, factors] : patterns_) {
      if (fused_.contains(name) || factors.alpha != Usual().alpha)
        alphas[name] = Number(factors.alpha);
    }
    return alphas;
  }

  const std::vector<std::string>& modules() const { return modules_; }
  const std::vector<std::string>& parameters() const { return parameters_; }

 private:
  static bool IsMlpProjection(std::string_view name) {
    return name.ends_with(".gate_proj") || name.ends_with(".up_proj") ||
           name.ends_with(".down_proj");
  }

  // Of as many modules with one pair of factors: their ranks add up.
  Factors FactorsOf(const AdapterModule& module, int64_t sharers) const {
    const int64_t rank = sharers * module.lora_rank;
    if (!form_.rslora) return {rank, static_cast<double>(sharers) * module.alpha};
    return {rank, Rounded(module.scale() * std::sqrt(static_cast<double>(rank)))};
  }

  // Without what a square root and its square leave behind.
  static double Rounded(double value) { return std::stod(fmt::format("{:.12g}", value)); }

  void AddExpert(const ExpertName& expert, const AdapterModule& module) {
    const std::string parameter = expert.FusedParameter();
    if (!fused_.insert(parameter).second) return;  // As the other experts.
    parameters_.push_back(parameter);
    patterns_[parameter] = FactorsOf(module, expert.IsGateOrUp() ? 2 : 1);
  }

  const PeftConfigForm form_;
  std::vector<std::string> modules_;
  std::vector<std::string> parameters_;
  std::map<std::string, Factors> patterns_;
  std::set<std::string> fused_;
  std::map<Factors, int64_t> votes_;
};

}  // namespace

std::string PeftConfigJson(const AdapterLayout& layout, std::string_view base_model,
                           const PeftConfigForm& form) {
  PeftTargets targets(form);
  for (const AdapterModule& module : layout.modules()) targets.Add(module);
  const Factors usual = targets.Usual();
  const nlohmann::ordered_json config = {{"peft_type", "LORA"},
                                         {"task_type", "CAUSAL_LM"},
                                         {"base_model_name_or_path", std::string(base_model)},
                                         {"inference_mode", true},
                                         {"r", usual.rank},
                                         {"lora_alpha", Number(usual.alpha)},
                                         {"use_rslora", form.rslora},
                                         {"lora_dropout", 0.0},
                                         {"bias", "none"},
                                         {"target_modules", targets.modules()},
                                         {"target_parameters", targets.parameters()},
                                         {"rank_pattern", targets.Ranks()},
                                         {"alpha_pattern", targets.Alphas()}};
  return config.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace fedtune
