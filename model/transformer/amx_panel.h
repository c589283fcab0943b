// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/transformer/matrix_products.h"

namespace fedtune {

// Products of bf16 by AMX, whose tiles are registers of sixteen rows of sixteen values of
// fp32 or pairs of bf16 (Intel 64 and IA-32 Architectures Software Developer's Manual,
// volume 1, chapter 18).

// Whether tiles can be used: this CPU has them, Linux grants them, and they multiplied a
// small product right when they were first asked for.
bool HasAmxKernels();

// Some of a panel's depth, in pairs.
struct AmxSegment {
  const float* left = nullptr;  // What the first row begins with,
  int64_t left_stride = 0;      // and how far it is from there to the next one.
  const float* right = nullptr;
  int64_t right_stride = 0;  // Of a row of the panel, in whole vectors.
  int64_t depth = 0;         // A multiple of kPairSteps.
};

// At most kPanelColumns of a product.
struct AmxPanel {
  std::vector<AmxSegment> segments;
  MatrixResult result;
};

// Panels of equally many rows, whose left factors are the same. How a value adds up depends on
// its segments' depths alone. Requires HasAmxKernels().
void MultiplyByAmx(std::span<const AmxPanel> panels);

// The same with tiles whose instructions are computed value by value, for tests on other
// CPUs.
void MultiplyByTwin(std::span<const AmxPanel> panels);

}  // namespace fedtune
