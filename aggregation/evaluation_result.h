// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>

namespace fedtune {

// One client's evaluation of an adapter on its own validation split, or that of several
// clients together.
struct EvaluationResult {
  double loss = 0;                                // Mean per answer token.
  std::optional<double> accuracy = std::nullopt;  // Absent for free text.
  int64_t example_count = 0;

  friend bool operator==(const EvaluationResult&, const EvaluationResult&) = default;
};

}  // namespace fedtune
