// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "aggregation/adapter_layout.h"
#include "model/checkpoint/peft_config.h"

namespace fedtune {

// transformers 5 holds a layer's routed experts in two parameters, gate_up_proj
// [experts, 2 width, hidden] and down_proj [experts, hidden, width], and peft adapts
// a parameter as a whole: all experts with one rank, and gate and up with one pair
// of factors. Its tensors of a parameter with rank R are
//   A [experts * R, in]:  row expert * R + k
//   B [out, R * experts]: column k * experts + expert
// This file is about getting from factors of single projections to these, and back.

// An adapter whose experts peft can stack: in each layer all experts or none, with
// the same projections, gate never without up, one rank and scale for each parameter.
struct StackedAdapter {
  AdapterLayout layout;
  std::vector<float> values;
};

struct Stacking {
  int64_t expert_count = 0;  // Of a layer of the base model; 0: as many as the adapter has.
  bool stored_single = true;
};

// Adds to an adapter what stacking wants: projections of zeros and ranks filled up
// with zeros. Where scales differ, values of B change, so that each projection adds
// what it did. Beside single factors of gate or up there is always down: peft looks
// for the former where they are while it adapts both parameters.
//
// INVALID_ARGUMENT: an expert with a number of `expert_count` or more.
absl::StatusOr<StackedAdapter> StackExperts(const AdapterLayout& layout,
                                            std::span<const float> values,
                                            const Stacking& stacking);

// The factors of a parameter, or of one module.
struct FactorMatrices {
  std::string name;
  int64_t rank = 0;
  int64_t in_features = 0;
  int64_t out_features = 0;
  std::vector<float> a;  // Row-major.
  std::vector<float> b;
};

// The parameters "...experts.gate_up_proj" and "...experts.down_proj" of all layers
// of a stacked adapter, in its order. Requires: what StackExperts() makes.
std::vector<FactorMatrices> FuseExperts(const AdapterLayout& layout, std::span<const float> values);

struct ExpertModules {
  std::vector<AdapterModule> modules;
  std::vector<FactorMatrices> factors;
};

// The modules of the experts of one such parameter of `rank` and their factors, with
// `scale` each. Gate and up get one half of the rank each where each half is that of
// one of them alone, as FuseExperts() makes it, and the same A else.
//
// INVALID_ARGUMENT: sizes that no number of experts has.
absl::StatusOr<ExpertModules> SplitExperts(const FactorMatrices& parameter, double scale);

}  // namespace fedtune
