// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/router.h"

#include "ATen/TensorOperators.h"
#include "ATen/core/grad_mode.h"
#include "ATen/ops/amax.h"
#include "ATen/ops/softmax.h"
#include "ATen/ops/topk.h"
#include "ATen/ops/zeros_like.h"

namespace fedtune {
namespace {

// Scores below those of any expert, outside of the best groups.
at::Tensor ScoresOfBestGroups(const at::Tensor& scores, const MoeConfig& moe) {
  at::NoGradGuard no_grad;
  const int64_t rows = scores.size(0);
  const int64_t group_size = moe.routed_expert_count / moe.group_count;
  const at::Tensor grouped = scores.view({rows, moe.group_count, group_size});
  const at::Tensor best = at::amax(grouped, {2});
  const at::Tensor chosen = std::get<1>(at::topk(best, moe.groups_per_token, 1));
  const at::Tensor open = at::zeros_like(best).scatter_(1, chosen, 1).unsqueeze(2);
  // Open groups keep their scores, which are at least 0; the others get -1.
  return (grouped * open + (open - 1)).view_as(scores);
}

}  // namespace

Routing Route(const at::Tensor& x, const Linear& gate, const LoraFactors& lora,
              const MoeConfig& moe) {
  const at::Tensor scores = at::softmax(ApplyLinear(x.to(at::kFloat), gate, lora), 1);
  const at::Tensor eligible = moe.choice == ExpertChoice::kGroupLimitedGreedy
                                  ? ScoresOfBestGroups(scores, moe)
                                  : scores.detach();
  Routing routing;
  routing.experts = std::get<1>(at::topk(eligible, moe.experts_per_token, 1));
  const at::Tensor chosen = scores.gather(1, routing.experts);
  if (moe.normalize_weights && moe.experts_per_token > 1) {
    routing.weights = chosen / (chosen.sum(1, /*keepdim=*/true) + 1e-20);
  } else {
    routing.weights = chosen * moe.routed_scaling_factor;
  }
  return routing;
}

}  // namespace fedtune
