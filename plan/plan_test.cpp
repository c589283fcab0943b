// SPDX-License-Identifier: Apache-2.0

#include "plan/plan.h"

#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using fedtune::testing::HasCode;
using fedtune::testing::IsOk;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

constexpr std::string_view kHead = "name = 'icd'\nbase_model = 'icd-moe'\n";

// A plan with the least that is needed; `changed` replaces a whole section.
std::string Text(std::string_view training = "steps = 1", std::string_view rounds = "count = 3",
                 std::string_view rest = "") {
  return fmt::format("{}[training]\n{}\n[rounds]\n{}\n{}\n", kHead, training, rounds, rest);
}

void ExpectRefused(const std::string& text, std::string_view message) {
  const auto plan = ParsePlan(text, "plan.toml");
  EXPECT_THAT(plan, HasCode(absl::StatusCode::kInvalidArgument)) << text;
  EXPECT_THAT(Message(plan.status()), HasSubstr(message));
}

TEST(ParsePlanTest, FillsInTheDefaults) {
  const auto plan = ParsePlan(Text(), "plan.toml");
  ASSERT_THAT(plan, IsOk()) << plan.status();
  EXPECT_EQ(plan->name, "icd");
  EXPECT_EQ(plan->adapter.rank, 16);
  EXPECT_THAT(plan->adapter.targets, ElementsAre("attention", "shared_experts", "dense_mlp"));
  EXPECT_EQ(plan->rounds.deadline, absl::Hours(6));
  EXPECT_EQ(plan->aggregation.method, AggregationMethod::kAlternating);
  EXPECT_EQ(plan->server.optimizer, ServerRule::kAverage);
}

TEST(ParsePlanTest, ReadsEveryKey) {
  const auto plan = ParsePlan(
      R"(name = "icd10-chapters"
base_model = "/models/icd-moe"
base_digest = "sha256:00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"
[adapter]
rank = 8
alpha = 8
targets = ["q_proj", "v_proj"]
routed_rank = 2
routed_experts = [3, 0]
routed_layers = [1]
rslora = true
dropout = 0.05
[adapter.rank_pattern]
"self_attn.q_proj" = 4
o_proj = 2
[adapter.alpha_pattern]
'layers\.[01]\..*' = 12.5
[training]
epochs = 2
batch_size = 4
optimizer = "sgd"
learning_rate = 1.0
schedule = "cosine"
warmup = 0.05
weight_decay = 0.01
max_gradient_norm = 0.5
sequence_length = 128
truncate_prompts = true
seed = 11
[rounds]
count = 320
institutions = ["charite", "uke", "st-anna"]
cohort_size = 3
quorum = 2
deadline = "1h30m"
[aggregation]
method = "fedit"
weights = "uniform"
mode = "plain"
[server]
optimizer = "adam"
learning_rate = 5e-3
beta1 = 0.8
beta2 = 0.95
epsilon = 1e-4
schedule = "cosine"
warmup = 0.05
final_share = 0.1
[evaluation]
every = 20
)",
      "plan.toml");
  ASSERT_THAT(plan, IsOk()) << plan.status();
  EXPECT_EQ(plan->base_digest,
            "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
  EXPECT_EQ(plan->adapter.alpha, 8);
  EXPECT_EQ(plan->adapter.routed_rank, 2);
  EXPECT_THAT(plan->adapter.routed_experts, ElementsAre(3, 0));
  EXPECT_THAT(plan->adapter.routed_layers, ElementsAre(1));
  EXPECT_TRUE(plan->adapter.rslora);
  EXPECT_EQ(plan->adapter.dropout, 0.05);
  EXPECT_THAT(plan->adapter.rank_pattern,
              ElementsAre(Pair("self_attn.q_proj", 4), Pair("o_proj", 2)));
  EXPECT_THAT(plan->adapter.alpha_pattern, ElementsAre(Pair("layers\\.[01]\\..*", 12.5)));
  EXPECT_EQ(plan->training.epochs, 2);
  EXPECT_EQ(plan->training.steps, 0);
  EXPECT_EQ(plan->training.optimizer, LocalOptimizer::kSgd);
  EXPECT_EQ(plan->training.schedule, RateSchedule::kCosine);
  EXPECT_TRUE(plan->training.truncate_prompts);
  EXPECT_EQ(plan->training.seed, 11);
  EXPECT_EQ(plan->rounds.institutions.size(), 3u);
  EXPECT_EQ(plan->rounds.deadline, absl::Minutes(90));
  EXPECT_EQ(plan->aggregation.weights, ContributionWeights::kUniform);
  EXPECT_EQ(plan->server.optimizer, ServerRule::kAdam);
  EXPECT_EQ(plan->server.beta2, 0.95);
  EXPECT_EQ(plan->server.final_share, 0.1);
  EXPECT_EQ(plan->evaluation.every, 20);
}

TEST(ParsePlanTest, SaysEverythingThatIsWrongWithItsLine) {
  const auto plan = ParsePlan(
      "name = 'icd'\nbase_model = 'm'\n[training]\nsteps = 0\nlearning_rat = 1\n[rounds]\n"
      "count = 0\n",
      "plan.toml");
  EXPECT_EQ(Message(plan.status()),
            "plan.toml:4: steps in [training] must be from 1 to 1000000\n"
            "plan.toml:5: unknown key \"learning_rat\" in [training]; did you mean "
            "learning_rate?\n"
            "plan.toml:7: count in [rounds] must be from 1 to 1000000");
}

TEST(ParsePlanTest, SaysOnceThatAKeyIsOfAnotherKind) {
  EXPECT_EQ(Message(ParsePlan(Text("steps = 'ten'"), "plan.toml").status()),
            "plan.toml:4: steps in [training] must be a whole number");
}

TEST(ParsePlanTest, RefusesAMissingName) {
  ExpectRefused("base_model = 'm'\n[training]\nsteps = 1\n[rounds]\ncount = 1\n",
                "key name is missing");
}

TEST(ParsePlanTest, RefusesANameThatIsNotPlain) {
  ExpectRefused("name = 'a b'\nbase_model = 'm'\n[training]\nsteps = 1\n[rounds]\ncount = 1\n",
                "name must be 1 to 64 letters");
}

TEST(ParsePlanTest, RefusesAnEmptyBaseModel) {
  ExpectRefused("name = 'a'\nbase_model = ''\n[training]\nsteps = 1\n[rounds]\ncount = 1\n",
                "base_model must name a model");
}

TEST(ParsePlanTest, RefusesADigestThatIsNone) {
  ExpectRefused("base_digest = 'sha256:9c1e'\n" + Text(), "base_digest must be \"sha256:\"");
}

TEST(ParsePlanTest, RefusesStepsTogetherWithEpochs) {
  ExpectRefused(Text("steps = 1\nepochs = 1"), "cannot be given together with steps");
}

TEST(ParsePlanTest, RefusesNeitherStepsNorEpochs) {
  ExpectRefused(Text("batch_size = 1"), "steps in [training] or epochs must say how long");
}

TEST(ParsePlanTest, RefusesAPlanWithoutRounds) {
  ExpectRefused("name = 'a'\nbase_model = 'm'\n[training]\nsteps = 1\n",
                "[rounds] with count is missing");
}

TEST(ParsePlanTest, RefusesACohortBelowTheQuorum) {
  ExpectRefused(Text("steps = 1", "count = 1\ncohort_size = 2\nquorum = 3"),
                "cohort_size in [rounds] is 2, below the quorum of 3: no round could succeed");
}

TEST(ParsePlanTest, RefusesAQuorumAboveTheInstitutionsInvited) {
  ExpectRefused(Text("steps = 1", "count = 1\ninstitutions = ['uke']\nquorum = 2"),
                "quorum in [rounds] is 2, but only 1 institutions are invited");
}

TEST(ParsePlanTest, RefusesToCloseRoundsWithTooFewOrMoreThanAreAsked) {
  ExpectRefused(Text("steps = 1", "count = 1\nquorum = 3\nclose_at = 2"),
                "close_at in [rounds] is 2, below the quorum of 3: a round would close before");
  ExpectRefused(Text("steps = 1", "count = 1\ncohort_size = 3\nclose_at = 4"),
                "close_at in [rounds] is 4, but only 3 clients are asked in a round");
  ExpectRefused(Text("steps = 1", "count = 1\ninstitutions = ['uke', 'charite']\nclose_at = 3"),
                "but only 2 clients are asked");
  EXPECT_THAT(ParsePlan(Text("steps = 1", "count = 1\ncohort_size = 12\nclose_at = 10"), "p"),
              IsOk());
}

constexpr std::string_view kPlainFedit = "[aggregation]\nmode = 'plain'\nmethod = 'fedit'";

TEST(ParsePlanTest, BoundsWhatAnInstitutionCountsForWhereThePlanSaysSo) {
  const auto unbounded = ParsePlan(Text("steps = 1", "count = 1", kPlainFedit), "plan.toml");
  ASSERT_THAT(unbounded, IsOk()) << unbounded.status();
  EXPECT_EQ(unbounded->aggregation.max_weight, 0);
  const std::string aggregation = fmt::format("{}\nmax_weight = 4096", kPlainFedit);
  const auto bounded = ParsePlan(Text("steps = 1", "count = 1", aggregation), "plan.toml");
  ASSERT_THAT(bounded, IsOk()) << bounded.status();
  EXPECT_EQ(bounded->aggregation.max_weight, 4096);
}

TEST(ParsePlanTest, RefusesALargestWeightThatHasNoEffect) {
  ExpectRefused(Text("steps = 1", "count = 1", "[aggregation]\nmax_weight = 10"),
                "max_weight in [aggregation] has no effect with mode = \"secure\", whose bound is "
                "that of [secure]");
  ExpectRefused(Text("steps = 1", "count = 1",
                     "[aggregation]\nmode = 'plain'\nweights = 'uniform'\nmax_weight = 10"),
                "max_weight in [aggregation] has no effect with weights = \"uniform\"");
  ExpectRefused(Text("steps = 1", "count = 1", "[aggregation]\nmode = 'plain'\nmax_weight = -1"),
                "max_weight in [aggregation] must be from 0 to 1099511627776");
}

TEST(ParsePlanTest, KeepsStragglersWhereThePlanSaysSo) {
  const auto plan =
      ParsePlan(Text("steps = 1", "count = 1\nstragglers = 'keep'\nmax_staleness = 2", kPlainFedit),
                "plan.toml");
  ASSERT_THAT(plan, IsOk()) << plan.status();
  EXPECT_EQ(plan->rounds.stragglers, Stragglers::kKeep);
  EXPECT_EQ(plan->rounds.max_staleness, 2);
  EXPECT_EQ(WeightOf(*plan, 1000, 0), 256'000);
  EXPECT_EQ(WeightOf(*plan, 1000, 3), 128'000);
  EXPECT_EQ(WeightOf(*plan, 1, 8), 85) << "256 / 3";
  EXPECT_EQ(WeightOf(*plan, 1, 1'000'000), 1);
}

TEST(ParsePlanTest, RefusesToKeepStragglersThatCannotBeAdded) {
  ExpectRefused(Text("steps = 1", "count = 1\nstragglers = 'keep'",
                     "[aggregation]\nmode = 'secure'\nmethod = 'fedit'"),
                "masks cancel only among those who have masked for the same round");
  ExpectRefused(
      Text("steps = 1", "count = 1\nstragglers = 'keep'", "[aggregation]\nmode = 'plain'"),
      "was trained with another factor frozen");
  ExpectRefused(Text("steps = 1", "count = 1\nmax_staleness = 2", kPlainFedit),
                "max_staleness in [rounds]");
  ExpectRefused(Text("steps = 1", "count = 1\nstragglers = 'later'", kPlainFedit),
                "stragglers in [rounds] must be \"drop\" or \"keep\"");
  ExpectRefused(Text("steps = 1", "count = 1\nstragglers = 'keep'\nmax_staleness = 0", kPlainFedit),
                "max_staleness in [rounds] must be from 1");
}

TEST(ParsePlanTest, AnAsynchronousPlanKeepsStragglers) {
  const auto plan =
      ParsePlan(Text("steps = 1", "count = 1\nasynchronous = true\nclose_at = 4\nmax_staleness = 9",
                     kPlainFedit),
                "plan.toml");
  ASSERT_THAT(plan, IsOk()) << plan.status();
  EXPECT_TRUE(plan->rounds.asynchronous);
  EXPECT_EQ(plan->rounds.stragglers, Stragglers::kKeep);
  EXPECT_EQ(plan->rounds.max_staleness, 9);
}

TEST(ParsePlanTest, RefusesAsynchronousPlansThatCannotBe) {
  constexpr std::string_view kRounds = "count = 1\nasynchronous = true\nclose_at = 8";
  ExpectRefused(Text("steps = 1", kRounds, "[aggregation]\nmode = 'secure'\nmethod = 'fedit'"),
                "masks cancel only among clients that are fixed before anyone masks");
  ExpectRefused(Text("steps = 1", kRounds, "[aggregation]\nmode = 'plain'"),
                "what was trained with another factor frozen must not be averaged");
  ExpectRefused(Text("steps = 1", "count = 1\nasynchronous = true", kPlainFedit),
                "asynchronous in [rounds] = true needs close_at");
  for (const std::string_view key : {"stragglers = 'keep'", "cohort_size = 9"}) {
    ExpectRefused(Text("steps = 1", fmt::format("{}\n{}", kRounds, key), kPlainFedit),
                  "asynchronous = true");
  }
}

TEST(ParsePlanTest, RefusesAnInstitutionTwice) {
  ExpectRefused(Text("steps = 1", "count = 1\ninstitutions = ['uke', 'uke']"), "names uke twice");
}

TEST(ParsePlanTest, RefusesDeadlinesThatAreNotTimes) {
  ExpectRefused(Text("steps = 1", "count = 1\ndeadline = '6 hours'"), "such as \"6h\"");
  ExpectRefused(Text("steps = 1", "count = 1\ndeadline = '-6h'"), "from \"1s\" to \"1440h\"");
  ExpectRefused(Text("steps = 1", "count = 1\ndeadline = 'inf'"), "from \"1s\" to \"1440h\"");
}

TEST(ParsePlanTest, SaysHowATimeIsWrittenToWhoWritesANumber) {
  ExpectRefused(Text("steps = 1", "count = 1\ndeadline = 3600"),
                "plan.toml:7: deadline in [rounds] must be a time in quotes with its unit, such as "
                "\"6h\", \"1h30m\" or \"90s\"; for 3600 seconds write \"3600s\"");
  ExpectRefused(Text("steps = 1", "count = 1\ndeadline = true"), "must be a string in quotes");
}

TEST(ParsePlanTest, RefusesServerSettingsThatWouldHaveNoEffect) {
  ExpectRefused(Text("steps = 1", "count = 1", "[server]\nbeta1 = 0.9"),
                "beta1 in [server] has no effect with optimizer = \"average\"");
  ExpectRefused(Text("steps = 1", "count = 1", "[server]\noptimizer = 'momentum'\nbeta2 = 0.9"),
                "beta2 in [server] has no effect with optimizer = \"momentum\"");
  ExpectRefused(Text("steps = 1", "count = 1", "[server]\nfinal_share = 0.9"),
                "final_share in [server] has no effect with schedule = \"constant\"");
}

struct OutOfRange {
  std::string_view section;
  std::string_view line;
  std::string_view message;
};

class PlanRangeTest : public ::testing::TestWithParam<OutOfRange> {};

TEST_P(PlanRangeTest, IsRefused) {
  const OutOfRange& c = GetParam();
  std::string training = "steps = 1";
  std::string rounds = "count = 3";
  std::string rest;
  if (c.section == "training") {
    training += fmt::format("\n{}", c.line);
  } else if (c.section == "rounds") {
    rounds += fmt::format("\n{}", c.line);
  } else {
    rest = fmt::format("[{}]\n{}", c.section, c.line);
  }
  ExpectRefused(Text(training, rounds, rest), c.message);
}

// An expression of each takes memory, of all whom the plan reaches.
TEST(PlanTest, RefusesMorePatternsThanAnyModelNeeds) {
  std::string table = "[adapter.alpha_pattern]\n";
  for (int i = 0; i < 1'010; ++i) table += fmt::format("'q_proj|{}' = 4\n", i);
  ExpectRefused(Text("steps = 1", "count = 3", table),
                "q_proj|1000 in [adapter.alpha_pattern] is one pattern too many, 1,000 can be");
}

INSTANTIATE_TEST_SUITE_P(
    EveryRange, PlanRangeTest,
    ::testing::Values(
        OutOfRange{"adapter", "rank = 0", "rank in [adapter] must be from 1"},
        OutOfRange{"adapter", "rank = 5000", "rank in [adapter] must be from 1 to 4096"},
        OutOfRange{"adapter", "alpha = 0", "alpha in [adapter] must be above 0"},
        OutOfRange{"adapter", "alpha = nan", "alpha in [adapter] must be above 0"},
        OutOfRange{"adapter", "alpha = inf", "alpha in [adapter] must be above 0"},
        OutOfRange{"adapter", "routed_rank = -1", "routed_rank in [adapter] must be from 0"},
        OutOfRange{"adapter", "dropout = 1.0", "dropout in [adapter] must be"},
        OutOfRange{"adapter", "routed_experts = [0, -1]",
                   "routed_experts in [adapter] has -1; numbers count from 0"},
        OutOfRange{"adapter", "routed_layers = [2, 2]", "routed_layers in [adapter] names 2 twice"},
        OutOfRange{"adapter", "routed_layers = []",
                   "routed_layers in [adapter] must name at least"},
        OutOfRange{"adapter", "routed_layers = ['1']", "must be a list of whole numbers"},
        OutOfRange{"adapter", "rank_pattern = { q_proj = 0 }",
                   "q_proj in [adapter.rank_pattern] must be from 1"},
        OutOfRange{"adapter", "alpha_pattern = { q_proj = -1 }",
                   "q_proj in [adapter.alpha_pattern] must be"},
        OutOfRange{"adapter", "rank_pattern = { 'q_(' = 2 }", "is not a regular expression"},
        OutOfRange{"adapter", "targets = []", "targets in [adapter] must name at least one"},
        OutOfRange{"adapter", "targets = ['mlp', 'mlp']", "names a target twice"},
        OutOfRange{"training", "batch_size = 0", "batch_size in [training] must be from 1"},
        OutOfRange{"training", "optimizer = 'adam'", "must be \"adamw\" or \"sgd\""},
        OutOfRange{"training", "learning_rate = 0", "learning_rate in [training] must be above 0"},
        OutOfRange{"training", "learning_rate = -1.0", "must be above 0 and at most 100"},
        OutOfRange{"training", "schedule = 'linear'", "must be \"constant\" or \"cosine\""},
        OutOfRange{"training", "warmup = 1", "warmup in [training] must be at least 0 and below 1"},
        OutOfRange{"training", "weight_decay = 1.5", "weight_decay in [training] must be at least"},
        OutOfRange{"training", "max_gradient_norm = 0", "max_gradient_norm in [training] must be"},
        OutOfRange{"training", "sequence_length = 1", "sequence_length in [training] must be from"},
        OutOfRange{"training", "truncate_prompts = 1", "must be true or false"},
        OutOfRange{"training", "seed = -1", "seed in [training] must be from 0"},
        OutOfRange{"rounds", "cohort_size = -1", "cohort_size in [rounds] must be from 0"},
        OutOfRange{"rounds", "close_at = -1", "close_at in [rounds] must be from 0"},
        OutOfRange{"rounds", "quorum = 0", "quorum in [rounds] must be from 1"},
        OutOfRange{"rounds", "institutions = ['a b']", "has \"a b\", which is not a name"},
        OutOfRange{"aggregation", "method = 'mean'", "must be \"alternating\" or \"fedit\""},
        OutOfRange{"aggregation", "weights = 'tokens'", "must be \"examples\" or \"uniform\""},
        OutOfRange{"server", "optimizer = 'yogi'", "must be \"average\" or \"momentum\" or"},
        OutOfRange{"server", "learning_rate = 0", "learning_rate in [server] must be above 0"},
        OutOfRange{"server", "beta1 = 1", "beta1 in [server] must be at least 0 and below 1"},
        OutOfRange{"server", "beta2 = -0.1", "beta2 in [server] must be at least 0 and below 1"},
        OutOfRange{"server", "epsilon = 0", "epsilon in [server] must be above 0"},
        OutOfRange{"server", "warmup = 2", "warmup in [server] must be at least 0 and below 1"},
        OutOfRange{"server", "final_share = 1.1", "final_share in [server] must be from 0 to 1"},
        OutOfRange{"evaluation", "every = -1", "every in [evaluation] must be from 0"},
        OutOfRange{"evaluation", "evry = 1", "did you mean every?"}));

TEST(TrainedFactorsTest, AlternatesFromB) {
  EXPECT_EQ(TrainedFactors(AggregationMethod::kAlternating, 0), FactorSet::kB);
  EXPECT_EQ(TrainedFactors(AggregationMethod::kAlternating, 1), FactorSet::kA);
  EXPECT_EQ(TrainedFactors(AggregationMethod::kAlternating, 2), FactorSet::kB);
  EXPECT_EQ(TrainedFactors(AggregationMethod::kFedit, 1), FactorSet::kBoth);
}

TEST(AtPlanKeyTest, SaysWhereTheCauseStands) {
  const std::string toml = "name = \"x\"\n[adapter]\nrank = 8\ntargets = [\"v_proj\"]\n";
  const absl::Status problem = absl::InvalidArgumentError("no such layer");
  EXPECT_EQ(AtPlanKey(toml, "plan.toml", {"adapter", "targets"}, problem),
            absl::InvalidArgumentError("plan.toml:4: no such layer"));
  EXPECT_EQ(AtPlanKey(toml, "plan.toml", {"", "name"}, problem),
            absl::InvalidArgumentError("plan.toml:1: no such layer"));
  EXPECT_EQ(AtPlanKey(toml, "plan.toml", {"server", "schedule"}, problem),
            absl::InvalidArgumentError("plan.toml: no such layer"));
}

}  // namespace
}  // namespace fedtune
