// SPDX-License-Identifier: Apache-2.0

#include "client/commands/device_loss.h"

#include <utility>

#include "base/exit_code.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;

absl::Status Lost() { return absl::AbortedError("the GPU is lost"); }

// Trains and evaluates to one status.
class FailingTrainer final : public Trainer {
 public:
  explicit FailingTrainer(absl::Status status) : status_(std::move(status)) {}

  absl::StatusOr<TrainingOutcome> Train(const TrainingRequest&, const TrainingObserver&) override {
    if (!status_.ok()) return status_;
    return TrainingOutcome{};
  }
  absl::StatusOr<Evaluation> Evaluate(const EvaluationRequest&,
                                      const EvaluationObserver&) override {
    if (!status_.ok()) return status_;
    return Evaluation{.loss = 2.5, .accuracy = 0.5};
  }

 private:
  const absl::Status status_;
};

class DeviceLossTest : public ::testing::Test {
 protected:
  // Of a trainer that can do nothing but this.
  std::unique_ptr<Trainer> Opened(const absl::Status& status) {
    auto trainer = EndingWithDevice(std::make_unique<FailingTrainer>(status), end_);
    EXPECT_THAT(trainer, IsOk());
    return *std::move(trainer);
  }

  bool has_ended() const { return end_.token().stop_requested(); }

  ClientEnd end_{{}};
};

TEST_F(DeviceLossTest, AClientWhoseGpuIsLostInTrainingEnds) {
  EXPECT_EQ(Opened(Lost())->Train({}).status(), Lost());
  EXPECT_TRUE(has_ended());
  EXPECT_THAT(end_.status(), HasCode(absl::StatusCode::kAborted));
  EXPECT_EQ(ExitCodeFor(end_.status()), 1);
}

TEST_F(DeviceLossTest, AClientWhoseGpuIsLostInAnEvaluationEnds) {
  EXPECT_EQ(Opened(Lost())->Evaluate({}).status(), Lost());
  EXPECT_TRUE(has_ended());
}

TEST_F(DeviceLossTest, AClientWhoseGpuIsLostWhenABaseModelIsLoadedEnds) {
  EXPECT_EQ(EndingWithDevice(Lost(), end_).status(), Lost());
  EXPECT_TRUE(has_ended());
}

TEST_F(DeviceLossTest, AClientGoesOnAfterAnyOtherFailure) {
  const absl::Status diverged = absl::InternalError("the loss is not a finite number");
  EXPECT_EQ(Opened(diverged)->Train({}).status(), diverged);
  EXPECT_EQ(EndingWithDevice(absl::NotFoundError("no such folder"), end_).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_FALSE(has_ended());
}

TEST_F(DeviceLossTest, WhatSucceedsIsHandedOn) {
  const auto trainer = Opened(absl::OkStatus());
  EXPECT_THAT(trainer->Train({}), IsOk());
  EXPECT_EQ(trainer->Evaluate({})->loss, 2.5);
  EXPECT_FALSE(has_ended());
}

}  // namespace
}  // namespace fedtune
