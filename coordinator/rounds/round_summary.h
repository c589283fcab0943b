// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "aggregation/evaluation_result.h"

namespace fedtune {

// Tokens that went to each routed expert during training, layer by layer.
struct RoutedTokens {
  int64_t experts = 0;  // Of a layer; 0: the model has none, or nothing was counted.
  std::vector<int64_t> counts = {};

  friend bool operator==(const RoutedTokens&, const RoutedTokens&) = default;
};

// What a plain run knows of one client's round.
struct ClientMetrics {
  double training_loss = 0;
  int64_t steps = 0;
  int64_t token_count = 0;
  std::vector<int64_t> routed_tokens = {};  // As RoutedTokens has them.
  double training_seconds = 0;
  std::optional<EvaluationResult> before = std::nullopt;  // Of the global adapter it started from.
  std::optional<EvaluationResult> after = std::nullopt;   // Of what it trained.

  friend bool operator==(const ClientMetrics&, const ClientMetrics&) = default;
};

// The global adapter as `round` rounds left it, over all institutions that
// evaluated it, weighted by their records.
struct EvaluationSummary {
  int64_t round = 0;  // 0: the adapter before the first round.
  double loss = 0;
  // Over the institutions that reported one; absent when none did.
  std::optional<double> accuracy = std::nullopt;
  int64_t example_count = 0;

  friend bool operator==(const EvaluationSummary&, const EvaluationSummary&) = default;
};

struct RoundSummary {
  int64_t round = 0;    // Counted from 0.
  int64_t attempt = 1;  // The one that succeeded.
  int64_t contributions = 0;
  int64_t example_count = 0;  // Of the contributors.
  double training_loss = 0;   // Mean over the contributions, by their weights.
  // Of the adapter that the round started from, when the round evaluated.
  std::optional<EvaluationSummary> evaluation = std::nullopt;
  RoutedTokens routed = {};  // Over all contributions.
  // Why a secure round came to nothing and left the adapter as it was; empty if it counted.
  std::string burnt = "";

  friend bool operator==(const RoundSummary&, const RoundSummary&) = default;
};

}  // namespace fedtune
