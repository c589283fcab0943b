// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "model/checkpoint/config_reader.h"
#include "model/checkpoint/name_pattern.h"

namespace fedtune {

using NameSet = std::set<std::string, std::less<>>;

// The names that a key of adapter_config.json lists, or an expression for them.
struct PeftNames {
  NameSet listed;
  bool is_expression = false;
  // Absent where RE2 does not have the expression, as one that looks ahead.
  std::optional<NamePattern> expression = std::nullopt;
};

// Whether a name is among `names`, or ends in one behind a dot.
bool IsNamed(const NameSet& names, std::string_view name);

// Which modules peft gives factors of their own, by target_modules, exclude_modules,
// layers_to_transform and layers_pattern of adapter_config.json.
class TargetModules {
 public:
  // Names nothing, which stands for every module.
  TargetModules() = default;

  // Notes in `reader` what is neither a name, a number nor a list of them.
  explicit TargetModules(ConfigReader& reader);

  // The key by which peft leaves the module out; nothing where it adapts it, and where only
  // an expression that RE2 does not have could say so.
  std::optional<std::string_view> LeftOutBy(std::string_view module) const;

  // Whether only an expression that RE2 does not have could say which modules peft leaves out.
  bool AreUnknown() const {
    return (targets_.is_expression && !targets_.expression) ||
           (excluded_.is_expression && !excluded_.expression);
  }

  // Whether target_modules names none, which stands for every module only where no
  // parameters are named either.
  bool NamesNone() const {
    return !names_all_ && !targets_.is_expression && targets_.listed.empty();
  }

 private:
  bool TransformsLayerOf(std::string_view module) const;

  bool names_all_ = false;  // "all-linear": the head is not among them.
  PeftNames targets_;
  PeftNames excluded_;
  std::optional<std::set<int64_t>> layers_;  // Absent: all.
  bool names_no_stack_of_layers_ = false;    // What layers_pattern says is none of ours.
};

}  // namespace fedtune
