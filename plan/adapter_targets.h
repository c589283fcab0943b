// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/statusor.h"
#include "aggregation/adapter_layout.h"
#include "model/checkpoint/base_model_description.h"
#include "plan/adapter_modules.h"
#include "plan/plan.h"

namespace fedtune {

// The layers that `adapter.targets` names in `model`, as a layout. Layers come
// in the model's order, whatever the order of the targets. Router and head are
// never targets, except that "lm_head" may be named. "all-linear" is every
// layer but those two, "mlp" every one of them outside attention; anything else is
// a layer's name, or what stands behind one of its dots. The usual targets are those of
// them that the model has: a Llama has no shared experts.
//
// Routed experts get their own rank and the scale of all other layers. A layer
// that a pattern names has the rank or alpha given there, and as in peft the scale
// that the two make: alpha / rank, or with rslora alpha / sqrt(rank). The layout's
// alphas are always those for which alpha / rank is the scale.
//
// INVALID_ARGUMENT: a rank below 1 or above both sizes of a layer, a pattern that
// matches no trained layer, numbers that no routed expert among the targets has, or
// a target that matches no layer; the message names it and lists what the model
// has, as in: target "v_proj" matches no layer of deepseek-v2-lite (attention has
// q_proj, kv_a_proj_with_mqa, kv_b_proj, o_proj); also as ModulesOf().
absl::StatusOr<AdapterLayout> ResolveTargets(const BaseModelDescription& model,
                                             const AdapterPlan& adapter, MatchingTime time = {});

}  // namespace fedtune
