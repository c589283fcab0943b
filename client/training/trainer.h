// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "aggregation/adapter_layout.h"
#include "client/data/tokenized_record.h"
#include "client/training/training_state.h"
#include "plan/plan.h"

namespace fedtune {

// The records of one optimiser step.
using Batch = std::vector<const TokenizedRecord*>;

// One round's local training. The optimiser starts afresh with every request.
struct TrainingRequest {
  const AdapterLayout* layout = nullptr;
  std::span<const float> adapter;  // The start: layout->parameter_count() values.
  FactorSet factors = FactorSet::kBoth;

  int64_t steps = 0;
  std::function<Batch(int64_t step)> batch;           // Steps count from 0.
  std::function<double(int64_t step)> learning_rate;  // Scheduled by the caller.

  LocalOptimizer optimizer = LocalOptimizer::kAdamW;
  double weight_decay = 0;       // Decoupled; of the trained factors only.
  double max_gradient_norm = 1;  // Over all trained factors together; 0: no clipping.

  // Dropout of the factors' inputs, in [0, 1); what is dropped depends on seed, step
  // and layer alone.
  double dropout = 0;
  uint64_t dropout_seed = 0;

  // Of so many of the first layers activations are not kept for the derivative but
  // computed again: less memory, more time, the same bits.
  int64_t recomputed_layers = 0;

  const TrainingState* resumed = nullptr;  // Goes on from here; null: from the start.
  StateTaker take_state = {};              // Before the observer; may be empty.

  // Asked before each part of a step, as a large batch goes through the model in several;
  // false ends the training (CANCELLED). May be empty.
  std::function<bool()> goes_on = {};
};

// What a state must be of to be gone on from in this request.
inline TrainingShape ShapeOf(const TrainingRequest& request) {
  return {*request.layout, request.factors, request.optimizer, request.steps};
}

// After each step.
struct TrainingProgress {
  int64_t step = 0;  // Done so far.
  int64_t steps = 0;
  double loss = 0;  // Of this step, per answer token.
  double tokens_per_second = 0;
};

// Returning false ends the training (CANCELLED).
using TrainingObserver = std::function<bool(const TrainingProgress&)>;

struct TrainingOutcome {
  // The whole adapter; a factor that was not trained has its old bits.
  std::vector<float> adapter;
  double loss = 0;                 // Mean per answer token over all steps.
  int64_t token_count = 0;         // All tokens that went through the model.
  int64_t answer_token_count = 0;  // Those the loss was taken over.
  // Tokens that went to each routed expert, layer by layer. The model's last layer
  // sees only those that an answer token follows, the others see all.
  std::vector<int64_t> routed_tokens;
  double seconds = 0;
};

struct EvaluationRequest {
  const AdapterLayout* layout = nullptr;
  std::span<const float> adapter;  // Empty: the base model alone.
  std::span<const TokenizedRecord> records;

  // Every answer a record can have, as tokens. When given, each record's answer
  // must be one of them and its targets must be its last tokens; the model's
  // choice is the answer with the largest summed log-likelihood after the
  // record's prompt.
  std::vector<std::vector<int32_t>> choices;
};

// Called with records done and in all; returning false ends the evaluation
// (CANCELLED).
using EvaluationObserver = std::function<bool(int64_t done, int64_t count)>;

struct Evaluation {
  double loss = 0;                 // Mean per answer token.
  std::optional<double> accuracy;  // Share of right choices; only with choices.
  int64_t example_count = 0;
  int64_t answer_token_count = 0;
};

// Trains and evaluates adapters of one base model that it keeps in memory. Use
// it from one thread at a time; a call blocks for as long as the work takes.
//
// Equal requests give equal bits on one machine: with AVX-512 on any number of threads, on
// other CPUs with one thread. GPUs promise nothing.
//
// INVALID_ARGUMENT: the layout does not fit the base model, the adapter does
// not fit the layout or the resumed state the request (CheckState()), a record
// has no target, an unknown token or more tokens than the model's context, or
// its answer is not a choice; or a weight of the base model is not finite.
// CANCELLED: an observer, or goes_on, said so. RESOURCE_EXHAUSTED: out of memory.
// OUT_OF_RANGE: an evaluation's losses are not finite (Overflowed()). INTERNAL: a training's
// loss is not finite, or the numerics library failed. ABORTED: this process
// has lost its device, and no later call succeeds; another process may still have it.
class Trainer {
 public:
  virtual ~Trainer() = default;

  virtual absl::StatusOr<TrainingOutcome> Train(const TrainingRequest& request,
                                                const TrainingObserver& observer = {}) = 0;

  virtual absl::StatusOr<Evaluation> Evaluate(const EvaluationRequest& request,
                                              const EvaluationObserver& observer = {}) = 0;
};

}  // namespace fedtune
