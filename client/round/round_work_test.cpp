// SPDX-License-Identifier: Apache-2.0

#include "client/round/round_work.h"

#include "base/status.h"
#include "client/training/overflow.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;

AdapterLayout TwoLayers() {
  return *AdapterLayout::Create(
      {{.name = "q_proj", .in_features = 2, .out_features = 1, .lora_rank = 1, .alpha = 1},
       {.name = "o_proj", .in_features = 1, .out_features = 1, .lora_rank = 1, .alpha = 1}});
}

// Adds 1 to every trained value of A and 2 to every one of B, and keeps what it
// was asked.
class AddingTrainer final : public Trainer {
 public:
  absl::StatusOr<TrainingOutcome> Train(const TrainingRequest& request,
                                        const TrainingObserver& observer) override {
    TrainingOutcome outcome{.adapter = {request.adapter.begin(), request.adapter.end()},
                            .loss = 1.5,
                            .token_count = 70,
                            .answer_token_count = 7,
                            .routed_tokens = routed_tokens,
                            .seconds = 2};
    for (const AdapterTensor& tensor : request.layout->tensors()) {
      if (!Contains(request.factors, tensor.factor)) continue;
      for (int64_t i = 0; i < tensor.size(); ++i) {
        outcome.adapter[static_cast<size_t>(tensor.offset + i)] +=
            tensor.factor == Factor::kA ? 1.0f : 2.0f;
      }
    }
    for (int64_t step = 0; step < request.steps; ++step) {
      batches.push_back(request.batch(step));
      rates.push_back(request.learning_rate(step));
      for (int64_t part = 0; part < parts_of_step; ++part, ++parts_done) {
        if (!request.goes_on()) return absl::CancelledError("stopped within a step");
      }
      if (!observer({.step = step + 1, .steps = request.steps})) {
        return absl::CancelledError("stopped");
      }
    }
    return outcome;
  }

  absl::StatusOr<Evaluation> Evaluate(const EvaluationRequest& request,
                                      const EvaluationObserver& observer) override {
    if (!observer(1, 1)) return absl::CancelledError("stopped");
    if (std::ssize(evaluated) == overflows_at) return Overflowed(/*with_adapter=*/true);
    evaluated.emplace_back(request.adapter.begin(), request.adapter.end());
    return Evaluation{.loss = 0.5,
                      .accuracy = 0.25,
                      .example_count = static_cast<int64_t>(request.records.size()),
                      .answer_token_count = 1};
  }

  int64_t parts_of_step = 0;
  int64_t parts_done = 0;
  std::vector<Batch> batches;
  std::vector<double> rates;
  std::vector<std::vector<float>> evaluated;
  int64_t overflows_at = -1;  // After so many evaluations.
  std::vector<int64_t> routed_tokens;
};

// Has one adapter: 1, 2, 3, 4, 5.
class OneBlobLink final : public CoordinatorLink {
 public:
  void Send(const Reply&) override {}
  absl::StatusOr<std::vector<float>> FetchAdapter(WantedAdapter wanted, std::stop_token,
                                                  const TransferObserver& observer) override {
    ++fetches;
    asked_count = wanted.value_count;
    given_storage = std::move(wanted.storage);
    while_fetching();
    observer(4, 4);
    return values;
  }
  absl::Status Submit(std::shared_ptr<const Contribution>, std::stop_token) override {
    return absl::OkStatus();
  }
  absl::Status SubmitMasked(std::shared_ptr<const MaskedContribution>, std::stop_token) override {
    return absl::OkStatus();
  }
  absl::StatusOr<LogProof> ProveLog(const LogQuestion&, std::stop_token) override {
    return absl::UnimplementedError("it keeps no log");
  }

  std::vector<float> values = {1, 2, 3, 4, 5};
  int fetches = 0;
  std::vector<float> given_storage;
  int64_t asked_count = 0;
  std::function<void()> while_fetching = [] {};
};

class RoundWorkTest : public ::testing::Test {
 protected:
  RoundWorkTest() {
    material_.layout = TwoLayers();
    material_.plan.rounds.count = 4;
    material_.plan.training.steps = 3;
    material_.plan.training.batch_size = 2;
    material_.training.resize(7);
    material_.validation.resize(5);
    material_.batch = [this](int64_t step) {
      steps_.push_back(step);
      return std::vector<int64_t>{step % 7, 0};
    };
    assignment_.id = {.run = "run-1", .round = 2};
    assignment_.adapter.bytes.fill(7);
  }

  absl::StatusOr<RoundResult> Perform() {
    const WorkObserver observer = [this](const WorkProgress& progress) {
      phases_.push_back(progress.phase);
      told_.push_back(progress);
    };
    const WorkObserver here = [this](const WorkProgress& progress) {
      told_here_.push_back(progress);
    };
    return RoundWork(assignment_, material_,
                     {trainer_, link_, control_, observer, fetched_, nullptr, &here})
        .Perform();
  }

  RunMaterial material_;
  Assignment assignment_;
  AddingTrainer trainer_;
  OneBlobLink link_;
  WorkControl control_;
  std::optional<FetchedAdapter> fetched_;
  std::vector<int64_t> steps_;
  std::vector<WorkPhase> phases_;
  std::vector<WorkProgress> told_;
  std::vector<WorkProgress> told_here_;
};

TEST_F(RoundWorkTest, HandsInWhatWasTrainedMinusWhatCameIn) {
  const auto result = Perform();
  ASSERT_THAT(result, IsOk());
  EXPECT_THAT(result->delta, ElementsAre(1, 1, 2, 1, 2));
  EXPECT_EQ(result->inputs, InputsOf(assignment_, material_));
  EXPECT_EQ(result->inputs.adapter, assignment_.adapter);
  EXPECT_EQ(result->metrics.steps, 3);
  EXPECT_EQ(result->metrics.token_count, 70);
  EXPECT_EQ(result->metrics.training_loss, 1.5);
  EXPECT_EQ(result->metrics.training_time, absl::Seconds(2));
}

TEST_F(RoundWorkTest, TellsHowManyTokensWentToEachRoutedExpert) {
  material_.routing = {.layers = 2, .experts = 2, .choices = 1, .most_tokens = 70};
  trainer_.routed_tokens = {70, 0, 30, 40};
  EXPECT_EQ(Perform()->metrics.routed_tokens, trainer_.routed_tokens);
  assignment_.evaluate_only = true;
  EXPECT_THAT(Perform()->metrics.routed_tokens, IsEmpty());
}

TEST_F(RoundWorkTest, RefusesCountsOfOtherExpertsThanTheBaseModelHas) {
  material_.routing = {.layers = 2, .experts = 2, .choices = 1, .most_tokens = 70};
  trainer_.routed_tokens = {70, 0};
  EXPECT_THAT(Perform(), HasCode(absl::StatusCode::kInternal));
}

TEST_F(RoundWorkTest, HandsInOnlyTheFactorsOfTheRound) {
  assignment_.factors = FactorSet::kA;
  EXPECT_THAT(Perform()->delta, ElementsAre(1, 1, 1));
  assignment_.factors = FactorSet::kB;
  EXPECT_THAT(Perform()->delta, ElementsAre(2, 2));
}

TEST_F(RoundWorkTest, GoesOnThroughTheDataFromRoundToRound) {
  Perform().IgnoreError();
  EXPECT_THAT(steps_, ElementsAre(6, 7, 8));
}

TEST_F(RoundWorkTest, TrainsOnTheRecordsOfEachStep) {
  Perform().IgnoreError();
  ASSERT_EQ(trainer_.batches.size(), 3);
  EXPECT_THAT(trainer_.batches[1], ElementsAre(&material_.training[0], &material_.training[0]));
  EXPECT_THAT(trainer_.batches[2], ElementsAre(&material_.training[1], &material_.training[0]));
}

TEST_F(RoundWorkTest, SchedulesTheLearningRateOverTheWholeRun) {
  material_.plan.training.warmup = 1;
  material_.plan.training.learning_rate = 24;
  Perform().IgnoreError();
  EXPECT_THAT(trainer_.rates, ElementsAre(13, 15, 17)) << "of 12 steps, the middles of 6, 7 and 8";
}

TEST_F(RoundWorkTest, EvaluatesBeforeAndAfterWhenAsked) {
  assignment_.evaluate = true;
  const auto result = Perform();
  ASSERT_THAT(result, IsOk());
  EXPECT_THAT(trainer_.evaluated, ElementsAre(ElementsAre(1, 2, 3, 4, 5),  //
                                              ElementsAre(2, 3, 5, 5, 7)));
  ASSERT_TRUE(result->metrics.before.has_value());
  EXPECT_EQ(result->metrics.before->example_count, 5);
  EXPECT_EQ(result->metrics.after->accuracy, 0.25);
}

TEST_F(RoundWorkTest, DoesNotEvaluateUnasked) {
  EXPECT_EQ(Perform()->metrics.before, std::nullopt);
  EXPECT_THAT(trainer_.evaluated, IsEmpty());
}

TEST_F(RoundWorkTest, HandsInNoValuesWhenItOnlyEvaluates) {
  assignment_.evaluate_only = true;
  const auto result = Perform();
  ASSERT_THAT(result, IsOk());
  EXPECT_THAT(result->delta, IsEmpty());
  EXPECT_TRUE(result->metrics.before.has_value());
  EXPECT_THAT(steps_, IsEmpty());
}

TEST_F(RoundWorkTest, HasNothingToEvaluateOnWithoutAValidationSplit) {
  material_.validation.clear();
  assignment_.evaluate = true;
  EXPECT_EQ(Perform()->metrics.before, std::nullopt);
}

TEST_F(RoundWorkTest, HandsInNothingWhereAnEvaluationOverflows) {
  assignment_.evaluate = true;
  trainer_.overflows_at = 0;
  EXPECT_THAT(Perform(), HasCode(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(Message(Perform().status()),
              StartsWith("the evaluation before training: the base model computes values"));
  EXPECT_THAT(steps_, IsEmpty());
  trainer_.overflows_at = 1;
  EXPECT_THAT(Message(Perform().status()), StartsWith("the evaluation after training: "));
  assignment_.evaluate_only = true;
  EXPECT_THAT(Message(Perform().status()), StartsWith("the evaluation of the run's adapter: "));
}

TEST_F(RoundWorkTest, FetchesAnAdapterOnce) {
  Perform().IgnoreError();
  Perform().IgnoreError();
  EXPECT_EQ(link_.fetches, 1);
  EXPECT_EQ(link_.asked_count, 5);
  assignment_.adapter.bytes.fill(8);
  Perform().IgnoreError();
  EXPECT_EQ(link_.fetches, 2);
}

TEST_F(RoundWorkTest, RefusesAnAdapterThatIsNotFinite) {
  link_.values[3] = std::numeric_limits<float>::infinity();
  EXPECT_THAT(Perform(), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(RoundWorkTest, StopsBetweenTwoSteps) {
  control_.Stop();
  EXPECT_THAT(Perform(), HasCode(absl::StatusCode::kCancelled));
  EXPECT_THAT(steps_, ElementsAre(6));
}

TEST_F(RoundWorkTest, StopsWithinAStep) {
  trainer_.parts_of_step = 3;
  control_.Stop();
  EXPECT_THAT(Perform(), HasCode(absl::StatusCode::kCancelled));
  EXPECT_EQ(trainer_.parts_done, 0);
}

TEST_F(RoundWorkTest, TellsWhichPhaseItIsIn) {
  assignment_.evaluate = true;
  material_.plan.training.steps = 1;
  Perform().IgnoreError();
  phases_.erase(std::unique(phases_.begin(), phases_.end()), phases_.end());
  EXPECT_THAT(phases_, ElementsAre(WorkPhase::kDownloading, WorkPhase::kEvaluating,
                                   WorkPhase::kTraining, WorkPhase::kEvaluating));
}

TEST_F(RoundWorkTest, NeverHoldsTwoAdaptersAtOnce) {
  fetched_ = FetchedAdapter{.digest = Sha256Of("another"), .values = {1, 2, 3}};
  link_.while_fetching = [this] { EXPECT_FALSE(fetched_.has_value()); };
  ASSERT_THAT(Perform(), IsOk());
  EXPECT_EQ(fetched_->digest, assignment_.adapter);
}

TEST_F(RoundWorkTest, LetsTheNextAdapterLieWhereTheLastOneLay) {
  fetched_ = FetchedAdapter{.digest = Sha256Of("another"), .values = {1, 2, 3}};
  const float* const lay = fetched_->values.data();
  ASSERT_THAT(Perform(), IsOk());
  EXPECT_EQ(link_.given_storage.data(), lay);
}

// As often for 1,000 steps as for 400: neither a fraction nor their number counts them.
TEST_F(RoundWorkTest, TellsNoCountsWhereTheCoordinatorIsNotToKnowThem) {
  material_.tells_counts = false;
  assignment_.evaluate = true;
  std::vector<std::vector<WorkProgress>> told;
  for (const int64_t steps : {1'000, 400}) {
    material_.plan.training.steps = steps;
    told_.clear();
    fetched_.reset();
    ASSERT_THAT(Perform(), IsOk());
    told.push_back(told_);
  }
  EXPECT_EQ(told[0], told[1]);
  std::vector<double> fractions;
  for (const WorkProgress& progress : told[0]) {
    EXPECT_EQ(progress.tokens_per_second, 0);
    EXPECT_EQ(progress.note, "");
    if (progress.phase == WorkPhase::kTraining) fractions.push_back(progress.fraction);
  }
  EXPECT_THAT(fractions, ElementsAre(0, 0.25, 0.5, 0.75, 1));
}

TEST_F(RoundWorkTest, TellsTheInstitutionItselfEveryStepAllTheSame) {
  material_.tells_counts = false;
  ASSERT_THAT(Perform(), IsOk());
  std::vector<double> fractions;
  for (const WorkProgress& progress : told_here_) {
    if (progress.phase == WorkPhase::kTraining) fractions.push_back(progress.fraction);
  }
  EXPECT_THAT(fractions, ElementsAre(0, 1.0 / 3, 2.0 / 3, 1));
}

}  // namespace
}  // namespace fedtune
