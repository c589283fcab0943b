// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>

#include "fmt/format.h"

namespace fedtune::testing {

// A plan of federated averaging over the model "tiny" (tiny_model.h), one step a round.
struct TinyPlan {
  std::string_view rounds;  // What its [rounds] say.
  std::string_view mode = "plain";
  std::string_view more = "";  // Tables behind all others.
};

inline std::string TinyPlanToml(const TinyPlan& plan) {
  return fmt::format(R"(name = "icd10"
base_model = "tiny"
[adapter]
rank = 1
targets = ["q_proj"]
[training]
steps = 1
[rounds]
{}
[aggregation]
mode = "{}"
method = "fedit"
{})",
                     plan.rounds, plan.mode, plan.more);
}

}  // namespace fedtune::testing
