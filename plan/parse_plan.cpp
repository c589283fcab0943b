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
#include "plan/plan.h"
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

void ReadWhole(TomlSection& section, std::string_view key, int64_t& field, int64_t least,
               int64_t most) {
  section.Optional(key, field);
  if (!section.Has(key) || (field >= least && field <= most)) return;
  section.Reject(key, fmt::format("must be from {} to {}", least, most));
}

// A number in (0, most].
void ReadPositive(TomlSection& section, std::string_view key, double& field, double most) {
  section.Optional(key, field);
  if (!section.Has(key) || (field > 0 && field <= most)) return;
  section.Reject(key, fmt::format("must be above 0 and at most {}", most));
}

// A number in [0, 1), or in [0, 1].
enum class One { kExcluded, kIncluded };
void ReadShare(TomlSection& section, std::string_view key, double& field, One one) {
  section.Optional(key, field);
  if (!section.Has(key)) return;
  if (field >= 0 && (field < 1 || (one == One::kIncluded && field == 1))) return;
  section.Reject(key,
                 one == One::kIncluded ? "must be from 0 to 1" : "must be at least 0 and below 1");
}

template <typename T>
void ReadChoice(TomlSection& section, std::string_view key, T& field,
                std::initializer_list<std::pair<std::string_view, T>> choices) {
  std::string text;
  section.Optional(key, text);
  if (!section.IsString(key)) return;
  std::vector<std::string> names;
  for (const auto& [name, value] : choices) {
    if (text == name) {
      field = value;
      return;
    }
    names.push_back(fmt::format("\"{}\"", name));
  }
  section.Reject(key, fmt::format("must be {}", fmt::join(names, " or ")));
}

void ReadDeadline(TomlSection& section, absl::Duration& field) {
  std::string text;
  section.Optional("deadline", text);
  if (!section.IsString("deadline")) return;
  absl::Duration parsed;
  if (!absl::ParseDuration({text.data(), text.size()}, &parsed)) {
    section.Reject("deadline", "must be a time such as \"6h\", \"1h30m\" or \"90s\"");
  } else if (parsed < absl::Seconds(1) || parsed > absl::Hours(24 * 60)) {
    section.Reject("deadline", "must be from \"1s\" to \"1440h\" (60 days)");
  } else {
    field = parsed;
  }
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

void ReadAdapter(TomlSection section, AdapterPlan& adapter) {
  ReadWhole(section, "rank", adapter.rank, 1, 4096);
  ReadPositive(section, "alpha", adapter.alpha, 1e6);
  ReadWhole(section, "routed_rank", adapter.routed_rank, 0, 4096);
  section.Optional("targets", adapter.targets);
  if (!section.Has("targets")) return;
  if (adapter.targets.empty()) {
    section.Reject("targets", "must name at least one group or layer, such as \"attention\"");
  }
  const std::set<std::string> distinct(adapter.targets.begin(), adapter.targets.end());
  if (distinct.size() != adapter.targets.size()) section.Reject("targets", "names a target twice");
}

void ReadTraining(TomlSection section, TrainingPlan& training) {
  ReadWhole(section, "steps", training.steps, 1, kMaxCount);
  ReadWhole(section, "epochs", training.epochs, 1, 10'000);
  if (section.Has("steps") && section.Has("epochs")) {
    section.Reject("epochs", "cannot be given together with steps: keep one of them");
  } else if (!section.Has("steps") && !section.Has("epochs")) {
    section.Reject("steps", "or epochs must say how long a client trains in a round");
  }
  ReadWhole(section, "batch_size", training.batch_size, 1, 65'536);
  ReadChoice<LocalOptimizer>(section, "optimizer", training.optimizer,
                             {{"adamw", LocalOptimizer::kAdamW}, {"sgd", LocalOptimizer::kSgd}});
  ReadPositive(section, "learning_rate", training.learning_rate, 100);
  ReadChoice<RateSchedule>(
      section, "schedule", training.schedule,
      {{"constant", RateSchedule::kConstant}, {"cosine", RateSchedule::kCosine}});
  ReadShare(section, "warmup", training.warmup, One::kExcluded);
  ReadShare(section, "weight_decay", training.weight_decay, One::kExcluded);
  ReadPositive(section, "max_gradient_norm", training.max_gradient_norm, 1e9);
  ReadWhole(section, "sequence_length", training.sequence_length, 2, 1 << 20);
  section.Optional("truncate_prompts", training.truncate_prompts);
  ReadWhole(section, "seed", training.seed, 0, INT64_MAX);
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

void ReadRounds(TomlSection section, RoundsPlan& rounds) {
  int64_t count = 1;
  section.Required("count", count);
  if (section.Has("count") && (count < 1 || count > kMaxCount)) {
    section.Reject("count", fmt::format("must be from 1 to {}", kMaxCount));
  }
  rounds.count = count;
  ReadInstitutions(section, rounds);
  ReadWhole(section, "cohort_size", rounds.cohort_size, 0, kMaxCount);
  ReadWhole(section, "quorum", rounds.quorum, 1, kMaxCount);
  ReadDeadline(section, rounds.deadline);
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

void ReadAggregation(TomlSection section, AggregationPlan& aggregation) {
  ReadChoice<AggregationMethod>(
      section, "method", aggregation.method,
      {{"alternating", AggregationMethod::kAlternating}, {"fedit", AggregationMethod::kFedit}});
  ReadChoice<ContributionWeights>(
      section, "weights", aggregation.weights,
      {{"examples", ContributionWeights::kExamples}, {"uniform", ContributionWeights::kUniform}});
  bool secure = false;
  section.Optional("secure", secure);
  if (secure) {
    section.Reject("secure",
                   "= true: secure aggregation is not part of this version; set secure = false");
  }
}

// Refuses settings that would silently have no effect.
void RejectUnused(TomlSection& section, std::initializer_list<std::string_view> keys,
                  std::string_view setting) {
  for (const std::string_view key : keys) {
    if (section.Has(key)) section.Reject(key, fmt::format("has no effect with {}", setting));
  }
}

void ReadServer(TomlSection section, ServerPlan& server) {
  ReadChoice<ServerOptimizer>(section, "optimizer", server.optimizer,
                              {{"average", ServerOptimizer::kAverage},
                               {"momentum", ServerOptimizer::kMomentum},
                               {"adam", ServerOptimizer::kAdam}});
  ReadPositive(section, "learning_rate", server.learning_rate, 100);
  ReadShare(section, "beta1", server.beta1, One::kExcluded);
  ReadShare(section, "beta2", server.beta2, One::kExcluded);
  ReadPositive(section, "epsilon", server.epsilon, 1);
  ReadChoice<RateSchedule>(
      section, "schedule", server.schedule,
      {{"constant", RateSchedule::kConstant}, {"cosine", RateSchedule::kCosine}});
  ReadShare(section, "warmup", server.warmup, One::kExcluded);
  ReadShare(section, "final_share", server.final_share, One::kIncluded);
  if (server.optimizer == ServerOptimizer::kAverage) {
    RejectUnused(section, {"beta1", "beta2", "epsilon"}, "optimizer = \"average\"");
  } else if (server.optimizer == ServerOptimizer::kMomentum) {
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
  ReadServer(root.Section("server"), plan.server);
  TomlSection evaluation = root.Section("evaluation");
  ReadWhole(evaluation, "every", plan.evaluation.every, 0, kMaxCount);
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
