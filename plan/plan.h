// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aggregation/adapter_layout.h"
#include "aggregation/server_optimizer.h"
#include "privacy/crypto/cipher_suite.h"
#include "privacy/secure_aggregation/ring.h"

namespace fedtune {

enum class AggregationMethod : uint8_t {
  kFedit,        // Both factors trained and averaged.
  kAlternating,  // Even rounds B with A common, odd rounds A with B common.
};

// Whether the coordinator sees each contribution, or their sum only.
enum class AggregationMode : uint8_t { kPlain, kSecure };

// Of a plan that does not say.
inline constexpr AggregationMode kDefaultAggregationMode = AggregationMode::kSecure;

enum class ContributionWeights : uint8_t { kExamples, kUniform };

enum class LocalOptimizer : uint8_t { kAdamW, kSgd };

enum class RateSchedule : uint8_t { kConstant, kCosine };

// [adapter]: which layers are trained, and how large the factors are.
struct AdapterPlan {
  int64_t rank = 16;
  double alpha = 32;
  // Groups ("attention", "dense_mlp", "shared_experts", "routed_experts",
  // "mlp", "all-linear") or ends of names ("q_proj", "shared_experts.up_proj").
  std::vector<std::string> targets = {"attention", "shared_experts", "dense_mlp"};
  int64_t routed_rank = 0;  // For routed experts; 0: max(1, rank / experts per token).
  // The routed experts that are trained, by number, and the layers in which they
  // are; empty: all.
  std::vector<int64_t> routed_experts = {};
  std::vector<int64_t> routed_layers = {};
  // Ranks and alphas of single modules, as peft has them (NamePattern): of several
  // patterns that match, the one that comes first in the file counts.
  std::vector<std::pair<std::string, int64_t>> rank_pattern = {};
  std::vector<std::pair<std::string, double>> alpha_pattern = {};
  bool rslora = false;  // Scale alpha / sqrt(rank) (Kalajdzievski, 2023).
  double dropout = 0;   // Of what A sees, while training.
};

// [training]: what a client does in one round.
struct TrainingPlan {
  int64_t steps = 0;  // Optimiser steps a round; or:
  int64_t epochs = 0;
  int64_t batch_size = 8;  // Records a step.
  LocalOptimizer optimizer = LocalOptimizer::kAdamW;
  double learning_rate = 2e-4;
  RateSchedule schedule = RateSchedule::kConstant;  // Over the whole run.
  double warmup = 0;  // Share of the run, for the local learning rate.
  double weight_decay = 0;
  double max_gradient_norm = 1;
  int64_t sequence_length = 512;  // Tokens; longer records are rejected.
  bool truncate_prompts = false;  // Cut prompts from the left instead.
  int64_t seed = 0;
};

// What becomes of a contribution that comes after its round has closed.
enum class Stragglers : uint8_t {
  kDrop,  // Its client is told to stop.
  kKeep,  // It counts in the round that is open then, the less the older it is.
};

// [rounds]
struct RoundsPlan {
  int64_t count = 0;
  // Institutions invited; empty: all that are connected when the run starts.
  std::vector<std::string> institutions;
  int64_t cohort_size = 0;  // Drawn each round from those who have accepted; 0: MostInCohort().
  // Contributions without which a round fails; in a secure plan that does not say,
  // the fewest that can work.
  int64_t quorum = 1;
  // With so many contributions a round closes, though more were asked; 0: it waits
  // for all of them.
  int64_t close_at = 0;
  absl::Duration deadline = absl::Hours(6);  // From a round's opening.
  // A new adapter after every close_at contributions, whoever they are of, and whoever
  // has handed in something older gets it at once. Then stragglers are kept.
  bool asynchronous = false;
  Stragglers stragglers = Stragglers::kDrop;
  int64_t max_staleness = 4;  // Rounds by which a contribution may be late, where they are kept.
};

// [aggregation]
struct AggregationPlan {
  AggregationMode mode = kDefaultAggregationMode;
  AggregationMethod method = AggregationMethod::kAlternating;
  ContributionWeights weights = ContributionWeights::kExamples;
  // Of a plain plan: no institution counts for more records; 0: each for those that it
  // has told. SecurePlan has a bound of its own.
  int64_t max_weight = 0;
};

// [secure]: how contributions are summed so that nobody sees a single one.
struct SecurePlan {
  int64_t min_cohort = 5;         // Clients below which nothing is released; at least 3.
  int64_t max_cohort = 0;         // Clients whose sum the ring must hold; ParsePlan() fills it in.
  int64_t assumed_corrupt = 1;    // Clients that may side with a lying coordinator.
  RingBits ring = RingBits::k32;  // 16 or 24: less to upload, and a coarser mean.

  // The magnitude at which a delta's value is cut. AdamW moves a value by about
  // the learning rate a step, so none comes near 1 before some thousand steps all
  // in one direction: 1 cuts nothing but divergence. In the ring of 32 bits it
  // costs nothing either, as a step of 200 clients is then 1.2e-7; the narrower
  // ones want a clip near the largest value that a round really makes.
  double clip = 1;

  // No client weighs more. Small weights lose precision: a client's own step is
  // max_weight / weight times as coarse.
  int64_t max_weight = 65'536;
  CipherSuite suite = CipherSuite::kCurve25519;
  absl::Duration phase_deadline = absl::Minutes(2);  // For each exchange besides the upload.
};

// [server]: what is done with the mean of the contributions (Reddi et al., 2021).
struct ServerPlan {
  ServerRule optimizer = ServerRule::kAverage;
  double learning_rate = 1;
  double beta1 = 0.9;   // Momentum, or Adam's first moment.
  double beta2 = 0.99;  // Adam's second moment.
  double epsilon = 1e-5;
  RateSchedule schedule = RateSchedule::kConstant;
  double warmup = 0;       // Share of the run.
  double final_share = 0;  // Of the learning rate, at the end of a cosine.
};

// [evaluation]: on each institution's own validation split.
struct EvaluationPlan {
  int64_t every = 0;  // Rounds between evaluations; 0: before the first and after the last only.
};

// Everything that defines a run, as the administrator wrote it. A plan travels
// as the text of its file; the SHA-256 of that text is its identity.
struct Plan {
  std::string name;
  std::string base_model;   // A name in the catalogue, or a path for the one who starts the run.
  std::string base_digest;  // "sha256:..."; may be empty in a file: filled in by what is found.
  AdapterPlan adapter;
  TrainingPlan training;
  RoundsPlan rounds;
  AggregationPlan aggregation;
  SecurePlan secure;  // Where the aggregation's mode is secure.
  ServerPlan server;
  EvaluationPlan evaluation;
};

// Parses and checks a plan. `source` names it in messages.
//
// INVALID_ARGUMENT: everything that is wrong with it, a line each: unknown keys
// (with the one that was probably meant), missing ones, values out of range,
// and combinations that cannot work.
absl::StatusOr<Plan> ParsePlan(std::string_view toml, std::string_view source);

// A key of a plan's file; `section` is empty for those at its head.
struct PlanKey {
  std::string_view section;
  std::string_view key;
};

// `problem`, an error that the plan itself does not show, at the place of the
// key that causes it: "plan.toml:9: target ...".
absl::Status AtPlanKey(std::string_view toml, std::string_view source, PlanKey key,
                       const absl::Status& problem);

// How much a contribution counts that is `staleness` rounds late: `weight` over
// sqrt(1 + staleness) (Nguyen et al., 2022), in 256ths where the plan keeps such
// contributions, and at least 1. Elsewhere it is `weight`.
int64_t WeightOf(const Plan& plan, int64_t weight, int64_t staleness);

// How many clients a round asks; 0: all that there are. In a secure plan that does not
// say so no more than those whose sum the ring holds.
int64_t MostInCohort(const Plan& plan);

// The factors that clients train in `round` (counted from 0).
FactorSet TrainedFactors(AggregationMethod method, int64_t round);

std::string_view ToString(AggregationMethod method);
std::string_view ToString(AggregationMode mode);
std::string_view ToString(LocalOptimizer optimizer);

}  // namespace fedtune
