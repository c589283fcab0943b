// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/status_macros.h"
#include "base/toml.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "plan/parse_adapter_plan.h"
#include "plan/parse_secure_plan.h"
#include "plan/plan.h"
#include "plan/plan_fields.h"
#include "plan/plan_limits.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {
namespace {

constexpr int64_t kMaxCount = 1'000'000;

bool IsPlainName(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

void ReadHead(TomlSection& root, Plan& plan) {
  root.Required("name", plan.name);
  if (root.IsString("name") && !IsPlainName(plan.name)) {
    root.Reject("name", "must be 1 to 64 letters, digits, \".\", \"_\" or \"-\"");
  }
  root.Required("base_model", plan.base_model);
  if (root.IsString("base_model") && plan.base_model.empty()) {
    root.Reject("base_model", "must name a model of the catalogue, or be the path of one");
  }
  std::string digest;
  root.Optional("base_digest", digest);
  if (!root.IsString("base_digest")) return;
  if (const auto parsed = Digest::Parse(digest); parsed.ok()) {
    plan.base_digest = parsed->ToString();
  } else {
    root.Reject("base_digest", "must be \"sha256:\" and 64 hexadecimal digits");
  }
}

void ReadTraining(TomlSection section, TrainingPlan& training) {
  ReadWhole(section, "steps", training.steps, {1, kMaxSteps});
  ReadWhole(section, "epochs", training.epochs, {1, kMaxEpochs});
  if (section.Has("steps") && section.Has("epochs")) {
    section.Reject("epochs", "cannot be given together with steps: keep one of them");
  } else if (!section.Has("steps") && !section.Has("epochs")) {
    section.Reject("steps", "or epochs must say how long a client trains in a round");
  }
  ReadWhole(section, "batch_size", training.batch_size, {1, kMaxBatchSize});
  ReadChoice<LocalOptimizer>(section, "optimizer", training.optimizer,
                             {{"adamw", LocalOptimizer::kAdamW}, {"sgd", LocalOptimizer::kSgd}});
  ReadPositive(section, "learning_rate", training.learning_rate, kMaxLearningRate);
  ReadChoice<RateSchedule>(
      section, "schedule", training.schedule,
      {{"constant", RateSchedule::kConstant}, {"cosine", RateSchedule::kCosine}});
  ReadShare(section, "warmup", training.warmup, One::kExcluded);
  ReadShare(section, "weight_decay", training.weight_decay, One::kExcluded);
  ReadPositive(section, "max_gradient_norm", training.max_gradient_norm, 1e9);
  ReadWhole(section, "sequence_length", training.sequence_length,
            {kMinSequenceLength, kMaxSequenceLength});
  section.Optional("truncate_prompts", training.truncate_prompts);
  ReadWhole(section, "seed", training.seed, {0, INT64_MAX});
}

void ReadInstitutions(TomlSection& section, RoundsPlan& rounds) {
  section.Optional("institutions", rounds.institutions);
  if (!section.Has("institutions")) return;
  std::set<std::string> seen;
  for (const std::string& name : rounds.institutions) {
    if (!IsPlainName(name)) {
      section.Reject("institutions", fmt::format("has \"{}\", which is not a name", name));
    } else if (!seen.insert(name).second) {
      section.Reject("institutions", fmt::format("names {} twice", name));
    }
  }
}

// Requires: the quorum is known.
void CheckCloseAt(TomlSection& section, const RoundsPlan& rounds) {
  if (rounds.close_at == 0) return;
  if (rounds.close_at < rounds.quorum) {
    section.Reject("close_at", fmt::format("is {}, below the quorum of {}: a round would close "
                                           "before it could succeed",
                                           rounds.close_at, rounds.quorum));
  }
  const int64_t asked = rounds.cohort_size > 0 ? rounds.cohort_size
                                               : static_cast<int64_t>(rounds.institutions.size());
  if (asked > 0 && rounds.close_at > asked) {
    section.Reject("close_at", fmt::format("is {}, but only {} clients are asked in a round",
                                           rounds.close_at, asked));
  }
}

// Late contributions are added to sums that began without them: what they are must
// fit, and be seen. Requires: the whole of [aggregation] is known.
void CheckStragglers(TomlSection& section, const Plan& plan) {
  if (plan.rounds.asynchronous) return;
  if (plan.rounds.stragglers == Stragglers::kDrop) {
    return RejectUnused(section, {"max_staleness"}, "stragglers = \"drop\"");
  }
  if (plan.aggregation.mode == AggregationMode::kSecure) {
    return section.Reject("stragglers",
                          "= \"keep\" cannot be together with mode = \"secure\" in [aggregation]: "
                          "masks cancel only among those who have masked for the same round");
  }
  if (plan.aggregation.method == AggregationMethod::kAlternating) {
    section.Reject("stragglers",
                   "= \"keep\" cannot be together with method = \"alternating\" in [aggregation]: "
                   "a contribution of the round before was trained with another factor frozen, and "
                   "must not be averaged with the others");
  }
}

// FedBuff. Requires: the whole of [aggregation] is known.
void CheckAsynchronous(TomlSection& section, Plan& plan) {
  RoundsPlan& rounds = plan.rounds;
  if (!rounds.asynchronous) return;
  rounds.stragglers = Stragglers::kKeep;
  RejectUnused(section, {"stragglers", "cohort_size"}, "asynchronous = true");
  if (rounds.close_at == 0) {
    section.Reject("asynchronous",
                   "= true needs close_at: with how many contributions the next "
                   "adapter is made");
  }
  if (plan.aggregation.mode == AggregationMode::kSecure) {
    section.Reject(
        "asynchronous",
        "= true cannot be together with mode = \"secure\" in [aggregation]: masks cancel "
        "only among clients that are fixed before anyone masks, and here whoever comes "
        "first counts");
  }
  if (plan.aggregation.method == AggregationMethod::kAlternating) {
    section.Reject("asynchronous",
                   "= true cannot be together with method = \"alternating\" in [aggregation]: what "
                   "was trained with another factor frozen must not be averaged with the others");
  }
}

void ReadRounds(TomlSection section, RoundsPlan& rounds) {
  if (!section.Has("count")) section.Required("count", rounds.count);
  ReadWhole(section, "count", rounds.count, {1, kMostRounds});
  ReadInstitutions(section, rounds);
  ReadWhole(section, "cohort_size", rounds.cohort_size, {0, kMaxCount});
  ReadWhole(section, "quorum", rounds.quorum, {1, kMaxCount});
  ReadWhole(section, "close_at", rounds.close_at, {0, kMaxCount});
  section.Optional("asynchronous", rounds.asynchronous);
  ReadChoice<Stragglers>(section, "stragglers", rounds.stragglers,
                         {{"drop", Stragglers::kDrop}, {"keep", Stragglers::kKeep}});
  ReadWhole(section, "max_staleness", rounds.max_staleness, {1, kMaxCount});
  ReadDuration(section, "deadline", rounds.deadline,
               {.least = absl::Seconds(1),
                .most = absl::Hours(24 * 60),
                .words = "from \"1s\" to \"1440h\" (60 days)"});
  const auto listed = static_cast<int64_t>(rounds.institutions.size());
  if (listed > 0 && rounds.quorum > listed) {
    section.Reject("quorum", fmt::format("is {}, but only {} institutions are invited",
                                         rounds.quorum, listed));
  }
  if (listed > 0 && rounds.cohort_size > listed) {
    section.Reject("cohort_size", fmt::format("is {}, but only {} institutions are invited",
                                              rounds.cohort_size, listed));
  }
  if (rounds.cohort_size > 0 && rounds.cohort_size < rounds.quorum) {
    section.Reject("cohort_size", fmt::format("is {}, below the quorum of {}: no round could "
                                              "succeed",
                                              rounds.cohort_size, rounds.quorum));
  }
}

// Methods whose server works on each contribution by itself: secure aggregation
// has none to show it. They are named here so that whoever asks for one is told why.
bool NeedsPlainContributions(std::string_view method) {
  static constexpr std::string_view kMethods[] = {"flora",     "fedex",  "flexlora",     "hetlora",
                                                  "lora_fair", "median", "trimmed_mean", "krum",
                                                  "bulyan",    "fltrust"};
  return std::find(std::begin(kMethods), std::end(kMethods), method) != std::end(kMethods);
}

void ReadAggregation(TomlSection section, AggregationPlan& aggregation) {
  ReadChoice<AggregationMode>(
      section, "mode", aggregation.mode,
      {{"plain", AggregationMode::kPlain}, {"secure", AggregationMode::kSecure}});
  ReadChoice<ContributionWeights>(
      section, "weights", aggregation.weights,
      {{"examples", ContributionWeights::kExamples}, {"uniform", ContributionWeights::kUniform}});
  std::string method;
  section.Optional("method", method);
  if (aggregation.mode == AggregationMode::kSecure && NeedsPlainContributions(method)) {
    return section.Reject("method", fmt::format("= \"{}\" needs every single contribution, which "
                                                "mode = \"secure\" hides from the coordinator",
                                                method));
  }
  ReadChoice<AggregationMethod>(
      section, "method", aggregation.method,
      {{"alternating", AggregationMethod::kAlternating}, {"fedit", AggregationMethod::kFedit}});
  ReadWhole(section, "max_weight", aggregation.max_weight, {0, kMaxExamples});
  if (aggregation.mode == AggregationMode::kSecure) {
    RejectUnused(section, {"max_weight"}, "mode = \"secure\", whose bound is that of [secure]");
  } else if (aggregation.weights == ContributionWeights::kUniform) {
    RejectUnused(section, {"max_weight"}, "weights = \"uniform\"");
  }
}

void ReadServer(TomlSection section, ServerPlan& server) {
  ReadChoice<ServerRule>(section, "optimizer", server.optimizer,
                         {{"average", ServerRule::kAverage},
                          {"momentum", ServerRule::kMomentum},
                          {"adam", ServerRule::kAdam}});
  ReadPositive(section, "learning_rate", server.learning_rate, 100);
  ReadShare(section, "beta1", server.beta1, One::kExcluded);
  ReadShare(section, "beta2", server.beta2, One::kExcluded);
  ReadPositive(section, "epsilon", server.epsilon, 1);
  ReadChoice<RateSchedule>(
      section, "schedule", server.schedule,
      {{"constant", RateSchedule::kConstant}, {"cosine", RateSchedule::kCosine}});
  ReadShare(section, "warmup", server.warmup, One::kExcluded);
  ReadShare(section, "final_share", server.final_share, One::kIncluded);
  if (server.optimizer == ServerRule::kAverage) {
    RejectUnused(section, {"beta1", "beta2", "epsilon"}, "optimizer = \"average\"");
  } else if (server.optimizer == ServerRule::kMomentum) {
    RejectUnused(section, {"beta2", "epsilon"}, "optimizer = \"momentum\"");
  }
  if (server.schedule == RateSchedule::kConstant) {
    RejectUnused(section, {"final_share"}, "schedule = \"constant\"");
  }
}

}  // namespace

absl::StatusOr<Plan> ParsePlan(std::string_view toml, std::string_view source) {
  ASSIGN_OR_RETURN(TomlDocument document, TomlDocument::Parse(toml, source));
  Plan plan;
  TomlSection root = document.root();
  ReadHead(root, plan);
  ReadAdapter(root.Section("adapter"), plan.adapter);
  ReadTraining(root.Section("training"), plan.training);
  ReadRounds(root.Section("rounds"), plan.rounds);
  ReadAggregation(root.Section("aggregation"), plan.aggregation);
  ReadSecure(root, plan);
  TomlSection rounds = root.Section("rounds");
  CheckCloseAt(rounds, plan.rounds);
  CheckStragglers(rounds, plan);
  CheckAsynchronous(rounds, plan);
  ReadServer(root.Section("server"), plan.server);
  TomlSection evaluation = root.Section("evaluation");
  ReadWhole(evaluation, "every", plan.evaluation.every, {0, kMaxCount});
  RETURN_IF_ERROR(document.Finish());
  return plan;
}

absl::Status AtPlanKey(std::string_view toml, std::string_view source, PlanKey key,
                       const absl::Status& problem) {
  ASSIGN_OR_RETURN(TomlDocument document, TomlDocument::Parse(toml, source));
  TomlSection root = document.root();
  const uint32_t line = (key.section.empty() ? root : root.Section(key.section)).Line(key.key);
  return Annotate(problem, line == 0 ? std::string(source) : fmt::format("{}:{}", source, line));
}

}  // namespace fedtune
