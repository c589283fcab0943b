// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/router.h"

#include <limits>

#include "ATen/TensorOperators.h"
#include "ATen/core/grad_mode.h"
#include "ATen/ops/amax.h"
#include "ATen/ops/ones_like.h"
#include "ATen/ops/softmax.h"
#include "ATen/ops/topk.h"
#include "model/transformer/sigmoid.h"

namespace fedtune {
namespace {

// The scores of the experts of the best groups; the others have that of no choice.
// Which groups are best, `best_of_group` of each says.
at::Tensor ScoresOfBestGroups(const at::Tensor& scores, const MoeConfig& moe,
                              const at::Tensor& best_of_group) {
  const at::Tensor chosen = std::get<1>(at::topk(best_of_group, moe.groups_per_token, 1));
  const at::Tensor closed = at::ones_like(best_of_group, at::kBool).scatter_(1, chosen, false);
  const at::Tensor grouped = scores.view({scores.size(0), moe.group_count, -1});
  return grouped.masked_fill(closed.unsqueeze(2), -std::numeric_limits<double>::infinity())
      .view_as(scores);
}

// What is compared when a token's experts are chosen.
at::Tensor ChoiceScores(const at::Tensor& scores, const at::Tensor& bias, const MoeConfig& moe) {
  const at::Tensor compared = bias.defined() ? scores + bias : scores;
  const auto grouped = [&] { return compared.view({compared.size(0), moe.group_count, -1}); };
  switch (moe.choice) {
    case ExpertChoice::kGroupLimitedGreedy:
      return ScoresOfBestGroups(compared, moe, at::amax(grouped(), {2}));
    case ExpertChoice::kBiasedGroups:
      return ScoresOfBestGroups(compared, moe, std::get<0>(at::topk(grouped(), 2, 2)).sum(2));
    case ExpertChoice::kGreedy:
      break;
  }
  return compared;
}

at::Tensor ScaledWeights(const at::Tensor& chosen, const MoeConfig& moe) {
  const bool normalize =
      moe.normalize_weights &&
      (moe.experts_per_token > 1 || moe.weight_scaling == WeightScaling::kNormalizeAndScale);
  if (!normalize) return chosen * moe.routed_scaling_factor;
  const at::Tensor shares = chosen / (chosen.sum(1, /*keepdim=*/true) + 1e-20);
  return moe.weight_scaling == WeightScaling::kNormalizeOrScale
             ? shares
             : shares * moe.routed_scaling_factor;
}

}  // namespace

Routing Route(const at::Tensor& x, const Linear& gate, const LoraFactors& lora,
              const at::Tensor& bias, const MoeConfig& moe) {
  const at::Tensor products = ApplyLinear(x.to(at::kFloat), gate, lora);
  const at::Tensor scores =
      moe.scores == RouterScores::kSigmoid ? Sigmoid(products) : at::softmax(products, 1);
  Routing routing;
  {
    at::NoGradGuard no_grad;
    const at::Tensor compared = ChoiceScores(scores, bias, moe);
    routing.experts = std::get<1>(at::topk(compared, moe.experts_per_token, 1));
  }
  routing.weights = ScaledWeights(scores.gather(1, routing.experts), moe);
  return routing;
}

}  // namespace fedtune
