// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string_view>

#include "aggregation/adapter_layout.h"
#include "model/checkpoint/base_model_description.h"
#include "plan/cost.h"
#include "plan/plan.h"

namespace fedtune {

// A training, as far as its activations go.
struct ActivationsOf {
  const Plan& plan;
  const BaseModelDescription& model;
  const AdapterLayout& layout;
  ComputeType type;
  int64_t recomputed_layers = 0;
  KnownRecords records;

  // Rows that go through the model together, and those of them whose logits are wanted.
  double rows() const;
  double wanted_rows() const;

  // Logits, of as many of these rows as are in memory together.
  double LogitValues(double of_rows) const;
};

// See EstimateCost().
int64_t ActivationBytes(const ActivationsOf& training);

// Values by the kernels of a CPU with AVX-512.
double ValuesByKernels(const ActivationsOf& training);

// How many of a layer's routed experts a token goes through, of all.
double ExpertShare(const BaseModelDescription& model);

// Whether it is the projection of that name: "o_proj" of "model.layers.3.self_attn.o_proj".
bool EndsIn(const LinearLayer& layer, std::string_view leaf);

// "model.layers.3." of "model.layers.3.mlp.gate_proj"; empty if it is in none.
std::string_view TransformerLayerOf(const LinearLayer& layer);

}  // namespace fedtune
