// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "aggregation/adapter_layout.h"
#include "model/checkpoint/pattern_index.h"
#include "model/checkpoint/target_modules.h"

namespace fedtune {

// What the adapter_config.json of a PEFT LoRA adapter says about its factors.
struct PeftConfig {
  std::string base_model;
  int64_t rank = 8;  // What peft takes where the file says nothing, and so the alpha.
  double alpha = 8;
  bool rank_stabilised = false;  // Scale alpha / sqrt(rank).
  // For modules, the weights that are target_parameters or the fused parameters of a
  // layer's routed experts, in the order of the file.
  NamePatterns<int64_t> rank_pattern;
  NamePatterns<double> alpha_pattern;
  TargetModules target_modules;
  NameSet target_parameters;

  // What holds for one module, or a fused parameter, by its name in the checkpoint. Where
  // target_parameters names its weight, patterns are for "<module>.weight" alone, as in peft.
  // Of several patterns the first counts. A projection of a routed expert has one
  // half of the rank of the parameter that it shares with another.
  int64_t RankOf(std::string_view module) const;

  // The alpha for which alpha / rank is the module's scale; zero and less as peft has them.
  double AlphaOf(std::string_view module) const;

  // Whether target_parameters names the parameter, or an end of its name.
  bool TargetsParameter(std::string_view parameter) const;

  // The key by which peft would give the module, not fused, no factors of its own; nothing
  // where it would (see TargetModules), or where a parameter of it is named.
  std::optional<std::string_view> LeftOutBy(std::string_view module) const;

 private:
  // As peft sees it: rank and alpha, and what both are shared by.
  struct Found {
    int64_t rank = 0;
    double alpha = 0;
    int64_t sharers = 1;
  };
  Found Find(std::string_view module) const;
};

// INVALID_ARGUMENT: not a LoRA adapter's configuration, or one with parts that
// we do not have: DoRA, biases, whole saved modules, a pattern that is no regular
// expression.
absl::StatusOr<PeftConfig> ParsePeftConfig(std::string_view json, std::string_view source);

struct PeftConfigForm {
  bool rslora = false;  // Say use_rslora, and alphas for which alpha / sqrt(rank) is the scale.
  // peft takes projections of MLPs in target_modules for those of routed experts, if
  // the base model has these, so they are named as parameters. Of parameters peft
  // makes W + B A anew each time, which takes far more time and memory than B (A x).
  bool base_has_experts = true;
};

// The adapter_config.json with which peft loads all of `layout`, whether experts'
// factors are stored one by one or fused. Requires: routed experts, if any, as
// StackExperts() makes them.
std::string PeftConfigJson(const AdapterLayout& layout, std::string_view base_model,
                           const PeftConfigForm& form);

}  // namespace fedtune
