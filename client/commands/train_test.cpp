// SPDX-License-Identifier: Apache-2.0

#include "client/commands/train.h"

#include <cmath>

#include "base/files.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "model/checkpoint/peft_adapter.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::SizeIs;

constexpr char kPlan[] = R"(name = "icd10"
base_model = "icd-moe"
[adapter]
rank = 2
targets = ["q_proj"]
[training]
steps = 4
batch_size = 2
schedule = "cosine"
[rounds]
count = 3
[aggregation]
mode = "plain"
)";

// Sets every value to 1 and keeps what it was asked.
class OnesTrainer final : public Trainer {
 public:
  struct Asked {
    int64_t steps = 0;
    std::vector<size_t> batch_sizes;
    std::vector<double> rates;
    double dropout = 0;
    int64_t recomputed_layers = 0;
  };
  explicit OnesTrainer(Asked& asked) : asked_(asked) {}

  absl::StatusOr<TrainingOutcome> Train(const TrainingRequest& request,
                                        const TrainingObserver& observer) override {
    asked_.steps = request.steps;
    asked_.dropout = request.dropout;
    asked_.recomputed_layers = request.recomputed_layers;
    for (int64_t step = 0; step < request.steps; ++step) {
      asked_.batch_sizes.push_back(request.batch(step).size());
      asked_.rates.push_back(request.learning_rate(step));
      if (!observer({.step = step + 1, .steps = request.steps})) return absl::CancelledError("");
    }
    TrainingOutcome outcome;
    outcome.adapter.assign(request.adapter.size(), 1.0f);
    return outcome;
  }
  absl::StatusOr<Evaluation> Evaluate(const EvaluationRequest& request,
                                      const EvaluationObserver&) override {
    Evaluation evaluation;
    evaluation.example_count = static_cast<int64_t>(request.records.size());
    return evaluation;
  }

 private:
  Asked& asked_;
};

class TrainTest : public ::testing::Test {
 protected:
  TrainTest() {
    options_.model.base = "examples/base_model/icd-moe";
    options_.data = "examples/icd10/cardiology-hospital/train.jsonl";
    options_.out = folder_.path() / "adapter";
    options_.plan = folder_.path() / "plan.toml";
    EXPECT_THAT(WriteFileAtomically(*options_.plan, kPlan), IsOk());
  }

  absl::Status Train() {
    return TrainOnFile(options_,
                       {[this](std::string_view) { return device_; },
                        [this](const TorchTrainerOptions&) {
                          ++opened_;
                          return std::make_unique<OnesTrainer>(asked_);
                        }},
                       clock_);
  }

  const testing::TemporaryDirectory folder_;
  const testing::FakeClock clock_;
  TrainOptions options_;
  OnesTrainer::Asked asked_;
  ComputeDevice device_ = ComputeDevice::Cpu();
  int opened_ = 0;
};

TEST_F(TrainTest, RecomputesWhatTheFlagSays) {
  options_.recompute = Recompute::kAlways;
  ASSERT_THAT(Train(), IsOk());
  EXPECT_EQ(asked_.recomputed_layers, 4);
}

TEST_F(TrainTest, KeepsActivationsWhereMemoryIsPlenty) {
  ASSERT_THAT(Train(), IsOk());
  EXPECT_EQ(asked_.recomputed_layers, 0);
}

TEST_F(TrainTest, RefusesMemoryThatCannotBe) {
  for (const double gigabytes : {0.0, -1.0, std::nan(""), 1e7}) {
    options_.memory_gb = gigabytes;
    EXPECT_THAT(Message(Train()), HasSubstr("--memory-gb must be above 0")) << gigabytes;
  }
  EXPECT_EQ(opened_, 0);
}

TEST_F(TrainTest, RefusesWhatDoesNotFitBeforeTheModelIsLoaded) {
  device_ = *ChooseDeviceAmong({.count = [] { return 1; },
                                .describe =
                                    [](int) {
                                      return Gpu{"small", 2'000'000, 1'000'000, true};
                                    },
                                .test = [](int) { return absl::OkStatus(); }},
                               "cuda:0");
  const absl::Status status = Train();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(Message(status), HasSubstr("and there are 1.0 MB"));
  EXPECT_EQ(opened_, 0);
}

TEST_F(TrainTest, MakesTheStepsOfAllRoundsOfThePlan) {
  ASSERT_THAT(Train(), IsOk());
  EXPECT_EQ(asked_.steps, 12);
  EXPECT_THAT(asked_.batch_sizes, Each(2));
  EXPECT_GT(asked_.rates.front(), asked_.rates.back()) << "one cosine over all of them";
}

TEST_F(TrainTest, WritesAnAdapterThatPeftReads) {
  ASSERT_THAT(Train(), IsOk());
  const auto adapter = ReadPeftAdapter(options_.out);
  ASSERT_THAT(adapter, IsOk());
  EXPECT_THAT(adapter->layout.modules(), SizeIs(4)) << "q_proj of four layers";
  EXPECT_THAT(adapter->values, Each(1.0f));
  EXPECT_EQ(adapter->base_model, "icd-moe");
}

TEST_F(TrainTest, NeverOverwritesAnAdapter) {
  ASSERT_THAT(Train(), IsOk());
  asked_ = {};
  EXPECT_THAT(Train(), HasCode(absl::StatusCode::kAlreadyExists));
  EXPECT_EQ(asked_.steps, 0) << "seen before anything is trained";
}

TEST_F(TrainTest, SaysWhichTargetIsNotInTheModel) {
  options_.targets = {"w_pack"};
  EXPECT_THAT(Message(Train()), HasSubstr("target \"w_pack\" matches no layer of icd-moe"));
}

TEST_F(TrainTest, SaysWhichFileIsMissing) {
  options_.data = "nowhere.jsonl";
  EXPECT_THAT(Train(), HasCode(absl::StatusCode::kNotFound));
}

// ---- PlanOf ----

TEST_F(TrainTest, AnEpochIsTheDefault) {
  options_.plan.reset();
  const auto plan = PlanOf(options_);
  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(plan->training.epochs, 1);
  EXPECT_EQ(plan->training.steps, 0);
  EXPECT_EQ(plan->rounds.count, 1);
}

TEST_F(TrainTest, FlagsWinOverThePlan) {
  options_.rank = 8;
  options_.targets = {"attention", "dense_mlp"};
  options_.learning_rate = 0.5;
  options_.schedule = "constant";
  options_.optimizer = "sgd";
  const auto plan = PlanOf(options_);
  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(plan->adapter.rank, 8);
  EXPECT_THAT(plan->adapter.targets, ElementsAre("attention", "dense_mlp"));
  EXPECT_EQ(plan->training.learning_rate, 0.5);
  EXPECT_EQ(plan->training.schedule, RateSchedule::kConstant);
  EXPECT_EQ(plan->training.optimizer, LocalOptimizer::kSgd);
  EXPECT_EQ(plan->training.batch_size, 2) << "from the plan";
}

TEST_F(TrainTest, FlagsSayWhatLoraIs) {
  options_.rank_pattern = {"self_attn.q_proj=4", "o_proj=2"};
  options_.alpha_pattern = {"a=b=0.5"};
  options_.routed_rank = 3;
  options_.routed_experts = {1, 2};
  options_.routed_layers = {0};
  options_.rslora = true;
  options_.dropout = 0.1;
  const auto plan = PlanOf(options_);
  ASSERT_THAT(plan, IsOk());
  EXPECT_THAT(plan->adapter.rank_pattern,
              ElementsAre(Pair("self_attn.q_proj", 4), Pair("o_proj", 2)));
  EXPECT_THAT(plan->adapter.alpha_pattern, ElementsAre(Pair("a=b", 0.5)));
  EXPECT_EQ(plan->adapter.routed_rank, 3);
  EXPECT_THAT(plan->adapter.routed_experts, ElementsAre(1, 2));
  EXPECT_THAT(plan->adapter.routed_layers, ElementsAre(0));
  EXPECT_TRUE(plan->adapter.rslora);
  EXPECT_EQ(plan->adapter.dropout, 0.1);
}

TEST_F(TrainTest, RefusesAPatternWithoutANumber) {
  for (const char* text : {"q_proj", "q_proj=", "=8", "q_proj=8x", "q_proj=0", "q_proj=1.5"}) {
    options_.rank_pattern = {text};
    const auto plan = PlanOf(options_);
    EXPECT_THAT(plan, HasCode(absl::StatusCode::kInvalidArgument)) << text;
    EXPECT_THAT(Message(plan.status()), HasSubstr("must be a pattern, \"=\" and a number"));
  }
}

TEST_F(TrainTest, TrainsWithTheRanksAndTheDropoutOfTheFlags) {
  options_.rank_pattern = {"layers.0.self_attn.q_proj=4"};
  options_.dropout = 0.1;
  ASSERT_THAT(Train(), IsOk());
  EXPECT_EQ(asked_.dropout, 0.1);
  const auto adapter = ReadPeftAdapter(options_.out);
  ASSERT_THAT(adapter, IsOk());
  EXPECT_EQ(adapter->layout.modules()[0].lora_rank, 4);
  EXPECT_EQ(adapter->layout.modules()[1].lora_rank, 2);
}

TEST_F(TrainTest, GivenStepsAreAllSteps) {
  options_.steps = 5;
  const auto plan = PlanOf(options_);
  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(plan->training.steps, 5);
  EXPECT_EQ(plan->rounds.count, 1);
}

TEST_F(TrainTest, GivenEpochsReplaceThePlansSteps) {
  options_.epochs = 2;
  const auto plan = PlanOf(options_);
  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(plan->training.steps, 0);
  EXPECT_EQ(plan->training.epochs, 2);
}

}  // namespace
}  // namespace fedtune
