// SPDX-License-Identifier: Apache-2.0

// The work of a round in processes that are killed.

#include <filesystem>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "client/round/round_work.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int64_t kSteps = 12;

// Training with momentum, in which a step takes as long as the test says.
class SlowTrainer final : public Trainer {
 public:
  SlowTrainer(testing::FakeClock& clock, absl::Duration step) : clock_(clock), step_(step) {}

  absl::StatusOr<TrainingOutcome> Train(const TrainingRequest& request,
                                        const TrainingObserver& observer) override {
    TrainingState state{.adapter = {request.adapter.begin(), request.adapter.end()}};
    state.first_moment.resize(state.adapter.size());
    state.second_moment.resize(state.adapter.size());
    if (request.resumed != nullptr) state = *request.resumed;
    while (state.step < request.steps) {
      if (!MakeStep(request, state)) return absl::CancelledError("killed within a step");
      request.take_state(state.step, [&] { return state; });
      if (!observer({.step = state.step, .steps = request.steps})) {
        return absl::CancelledError("killed");
      }
    }
    return TrainingOutcome{.adapter = state.adapter,
                           .loss = state.loss_sum / static_cast<double>(state.answer_token_count),
                           .token_count = state.token_count,
                           .answer_token_count = state.answer_token_count,
                           .routed_tokens = {},
                           .seconds = state.seconds};
  }

  absl::StatusOr<Evaluation> Evaluate(const EvaluationRequest& request,
                                      const EvaluationObserver& observer) override {
    ++evaluations;
    clock_.Advance(evaluation_time);
    if (!observer(1, 1)) return absl::CancelledError("killed");
    double sum = 0;
    for (const float value : request.adapter) sum += value;
    return Evaluation{.loss = sum, .accuracy = 0.25, .example_count = 5, .answer_token_count = 1};
  }

  std::vector<int64_t> steps;  // That were made.
  absl::Duration evaluation_time;
  int evaluations = 0;

 private:
  // In two parts.
  bool MakeStep(const TrainingRequest& request, TrainingState& state) {
    for (int part = 0; part < 2; ++part) {
      if (!request.goes_on()) return false;
      clock_.Advance(step_ / 2);
    }
    steps.push_back(state.step);
    const auto gradient = static_cast<float>(request.batch(state.step).front()->tokens.front());
    for (size_t i = 0; i < state.adapter.size(); ++i) {
      state.first_moment[i] = 0.9f * state.first_moment[i] + gradient / static_cast<float>(i + 3);
      state.adapter[i] -=
          static_cast<float>(request.learning_rate(state.step)) * state.first_moment[i];
    }
    ++state.step;
    state.loss_sum += gradient / 7;
    state.token_count += 3;
    state.answer_token_count += 1;
    state.seconds += absl::ToDoubleSeconds(step_);
    return true;
  }

  testing::FakeClock& clock_;
  const absl::Duration step_;
};

class AdapterLink final : public CoordinatorLink {
 public:
  void Send(const Reply&) override {}
  absl::StatusOr<std::vector<float>> FetchAdapter(WantedAdapter, std::stop_token,
                                                  const TransferObserver&) override {
    return std::vector<float>{1, 2, 3};
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
};

// One process after the other on one disk.
class ResumedWorkTest : public ::testing::Test {
 protected:
  ResumedWorkTest() {
    material_.layout = *AdapterLayout::Create(
        {{.name = "q_proj", .in_features = 2, .out_features = 1, .lora_rank = 1, .alpha = 1}});
    material_.plan.training.steps = kSteps;
    material_.plan.training.warmup = 1;
    for (int32_t i = 0; i < 7; ++i) material_.training.push_back({{i * i + 1, 2}, {0, 1}});
    material_.validation.resize(5);
    material_.batch = [](int64_t step) { return std::vector<int64_t>{step % 7}; };
    assignment_.id = {.run = "run-1", .round = 2};
  }

  // A process that is killed after so many steps; -1: it is not.
  absl::StatusOr<RoundResult> Process(int64_t killed_after, absl::Duration interval,
                                      absl::Duration step = absl::Seconds(7)) {
    RoundKeeper keeper = *RoundKeeper::Open({.directory = folder_.path() / "rounds",
                                             .key = SecretBytes(std::vector<uint8_t>(32, 1)),
                                             .interval = interval},
                                            clock_, log_);
    SlowTrainer trainer(clock_, step);
    trainer.evaluation_time = evaluation_time_;
    AdapterLink link;
    WorkControl control;
    std::optional<FetchedAdapter> fetched;
    const WorkObserver observer = [&](const WorkProgress& progress) {
      if (progress.phase == WorkPhase::kTraining) notes_.push_back(progress.note);
      if (progress.phase == killed_in_ && trainer.evaluations == killed_in_evaluation_) {
        control.Stop();
      }
      if (std::ssize(trainer.steps) == killed_after) control.Stop();
    };
    notes_.clear();
    auto result =
        RoundWork(assignment_, material_, {trainer, link, control, observer, fetched, &keeper})
            .Perform();
    steps_ = trainer.steps;
    evaluations_ = trainer.evaluations;
    return result;
  }

  absl::StatusOr<RoundResult> Undisturbed() {
    auto result = Process(-1, absl::ZeroDuration());
    EXPECT_THAT(result, IsOk());
    return result;
  }

  void EmptyTheDisk() { std::filesystem::remove_all(folder_.path() / "rounds"); }

  const testing::TemporaryDirectory folder_;
  testing::FakeClock clock_;
  Log log_;
  RunMaterial material_;
  Assignment assignment_;
  absl::Duration evaluation_time_;
  WorkPhase killed_in_ = WorkPhase::kWaiting;
  int killed_in_evaluation_ = 0;

  // Of the last process.
  std::vector<int64_t> steps_;
  std::vector<std::string> notes_;
  int evaluations_ = 0;
};

TEST_F(ResumedWorkTest, IsTheSameWhereverItWasKilled) {
  assignment_.evaluate = true;
  const auto whole = Undisturbed();
  for (int64_t killed_after = 1; killed_after <= kSteps; ++killed_after) {
    for (const absl::Duration interval : {absl::Seconds(1), absl::Seconds(30)}) {
      EXPECT_THAT(Process(killed_after, interval), HasCode(absl::StatusCode::kCancelled));
      const auto resumed = Process(-1, interval);
      ASSERT_THAT(resumed, IsOk());
      EXPECT_EQ(*resumed, *whole) << killed_after;
      EmptyTheDisk();
    }
  }
}

TEST_F(ResumedWorkTest, IsTheSameWhenEachProcessIsKilledAfterAStep) {
  const auto whole = Undisturbed();
  for (int64_t step = 0; step < kSteps; ++step) {
    EXPECT_THAT(Process(1, absl::Seconds(1)), HasCode(absl::StatusCode::kCancelled));
    EXPECT_THAT(steps_, ElementsAre(step));
  }
  // The state after the last step is not kept by itself: the result is.
  EXPECT_EQ(*Process(-1, absl::Seconds(1)), *whole);
  EXPECT_THAT(steps_, ElementsAre(kSteps - 1));
}

TEST_F(ResumedWorkTest, DoesNoMoreThanAnIntervalAgain) {
  for (int64_t killed_after = 1; killed_after < kSteps; ++killed_after) {
    EXPECT_THAT(Process(killed_after, absl::Seconds(30)), HasCode(absl::StatusCode::kCancelled));
    ASSERT_THAT(Process(-1, absl::Seconds(30)), IsOk());
    const int64_t lost = killed_after - steps_.front();
    EXPECT_LE(lost * 7, 30) << killed_after;
    EmptyTheDisk();
  }
}

TEST_F(ResumedWorkTest, DoesOneStepAgainWhereAStepIsLongerThanTheInterval) {
  EXPECT_THAT(Process(5, absl::Minutes(1), absl::Minutes(10)),
              HasCode(absl::StatusCode::kCancelled));
  ASSERT_THAT(Process(-1, absl::Minutes(1), absl::Minutes(10)), IsOk());
  EXPECT_EQ(steps_.front(), 5);
}

TEST_F(ResumedWorkTest, DoesAllAgainWithoutAnInterval) {
  EXPECT_THAT(Process(5, absl::ZeroDuration()), HasCode(absl::StatusCode::kCancelled));
  ASSERT_THAT(Process(-1, absl::ZeroDuration()), IsOk());
  EXPECT_EQ(std::ssize(steps_), kSteps);
  EXPECT_THAT(notes_, Each(std::string()));
}

TEST_F(ResumedWorkTest, TellsWhereItGoesOn) {
  EXPECT_THAT(Process(5, absl::Seconds(1)), HasCode(absl::StatusCode::kCancelled));
  EXPECT_THAT(notes_, Each(std::string()));
  ASSERT_THAT(Process(-1, absl::Seconds(1)), IsOk());
  EXPECT_THAT(notes_, Each(std::string("goes on at step 5 of 12")));
}

TEST_F(ResumedWorkTest, TellsNoStepsWhereTheCoordinatorIsNotToKnowThem) {
  material_.tells_counts = false;
  EXPECT_THAT(Process(6, absl::Seconds(1)), HasCode(absl::StatusCode::kCancelled));
  ASSERT_THAT(Process(-1, absl::Seconds(1)), IsOk());
  EXPECT_THAT(notes_, Each(std::string("goes on from its checkpoint")));
}

TEST_F(ResumedWorkTest, AnotherAttemptGoesOnFromTheSameCheckpoint) {
  EXPECT_THAT(Process(5, absl::Seconds(1)), HasCode(absl::StatusCode::kCancelled));
  assignment_.id.attempt = 2;
  const auto resumed = Process(-1, absl::Seconds(1));
  EXPECT_EQ(steps_.front(), 5);
  EXPECT_EQ(*resumed, *Undisturbed());
}

TEST_F(ResumedWorkTest, AnotherRoundBeginsAnew) {
  EXPECT_THAT(Process(5, absl::Seconds(1)), HasCode(absl::StatusCode::kCancelled));
  assignment_.id.round = 3;
  ASSERT_THAT(Process(-1, absl::Seconds(1)), IsOk());
  EXPECT_EQ(std::ssize(steps_), kSteps);
}

TEST_F(ResumedWorkTest, ALongEvaluationIsNotDoneAgain) {
  assignment_.evaluate = true;
  evaluation_time_ = absl::Minutes(5);
  const auto whole = Undisturbed();
  EXPECT_THAT(Process(1, absl::Minutes(10)), HasCode(absl::StatusCode::kCancelled));
  ASSERT_THAT(Process(-1, absl::Minutes(10)), IsOk());
  EXPECT_EQ(evaluations_, 2) << "it was short enough to be done again";
  EmptyTheDisk();
  EXPECT_THAT(Process(1, absl::Minutes(1)), HasCode(absl::StatusCode::kCancelled));
  EXPECT_EQ(*Process(-1, absl::Minutes(1)), *whole);
  EXPECT_EQ(evaluations_, 1);
}

TEST_F(ResumedWorkTest, NothingIsTrainedAgainWhenItIsKilledInTheLastEvaluation) {
  assignment_.evaluate = true;
  evaluation_time_ = absl::Minutes(5);
  const auto whole = Undisturbed();
  killed_in_ = WorkPhase::kEvaluating;
  killed_in_evaluation_ = 2;
  EXPECT_THAT(Process(-1, absl::Minutes(1)), HasCode(absl::StatusCode::kCancelled));
  EXPECT_EQ(std::ssize(steps_), kSteps);
  killed_in_ = WorkPhase::kWaiting;
  EXPECT_EQ(*Process(-1, absl::Minutes(1)), *whole);
  EXPECT_THAT(steps_, IsEmpty());
}

TEST_F(ResumedWorkTest, GoesOnWhereNothingCanBeStored) {
  const auto whole = Undisturbed();
  const std::string name = Sha256Of(assignment_.id.run).ToHex() + ".checkpoint";
  std::filesystem::create_directories(folder_.path() / "rounds" / name / "in_the_way");
  EXPECT_EQ(*Process(-1, absl::Seconds(1)), *whole);
  EXPECT_EQ(std::ssize(steps_), kSteps);
}

}  // namespace
}  // namespace fedtune
