// SPDX-License-Identifier: Apache-2.0

#include "client/training/training_state.h"

#include <limits>

#include "base/status.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;
using ::testing::HasSubstr;

class TrainingStateTest : public ::testing::Test {
 protected:
  void ExpectRefused(std::string_view reason) {
    const absl::Status status = CheckState(state_, shape_);
    EXPECT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(Message(status), HasSubstr(reason));
  }

  // Two values of A and one of B.
  const AdapterLayout layout_ = *AdapterLayout::Create(
      {{.name = "q_proj", .in_features = 2, .out_features = 1, .lora_rank = 1, .alpha = 1}});
  TrainingShape shape_ = {.layout = layout_, .steps = 8};
  TrainingState state_ = {.step = 3,
                          .adapter = {1, 2, 3},
                          .first_moment = {1, -2, 3},
                          .second_moment = {1, 2, 0},
                          .loss_sum = 4,
                          .token_count = 70,
                          .answer_token_count = 7,
                          .seconds = 2};
};

TEST_F(TrainingStateTest, FitsItsTraining) { EXPECT_THAT(CheckState(state_, shape_), IsOk()); }

TEST_F(TrainingStateTest, MayBeAtTheEnd) {
  state_.step = 8;
  state_.answer_token_count = 8;
  EXPECT_THAT(CheckState(state_, shape_), IsOk());
}

TEST_F(TrainingStateTest, HasMomentsOfWhatIsTrained) {
  shape_.factors = FactorSet::kA;
  ExpectRefused("first moment has 3 values, not 2");
  state_.first_moment = state_.second_moment = {1, 2};
  EXPECT_THAT(CheckState(state_, shape_), IsOk());
}

TEST_F(TrainingStateTest, HasNoMomentsInGradientDescent) {
  shape_.optimizer = LocalOptimizer::kSgd;
  ExpectRefused("first moment has 3 values, not 0");
  state_.first_moment = state_.second_moment = {};
  EXPECT_THAT(CheckState(state_, shape_), IsOk());
}

TEST_F(TrainingStateTest, IsRefusedPastTheEnd) {
  state_.step = 9;
  ExpectRefused("step 9 of 8");
}

TEST_F(TrainingStateTest, IsRefusedBeforeTheBeginning) {
  state_.step = -1;
  ExpectRefused("step -1 of 8");
}

TEST_F(TrainingStateTest, IsRefusedWithAnotherAdapter) {
  state_.adapter.push_back(4);
  ExpectRefused("adapter has 4 values, not 3");
}

TEST_F(TrainingStateTest, IsRefusedWithASecondMomentOfAnotherSize) {
  state_.second_moment.clear();
  ExpectRefused("second moment has 0 values, not 3");
}

TEST_F(TrainingStateTest, IsRefusedWithValuesThatAreNotFinite) {
  state_.adapter[1] = std::numeric_limits<float>::infinity();
  ExpectRefused("adapter has a value that is not finite");
  state_.adapter[1] = 0;
  state_.first_moment[2] = std::numeric_limits<float>::quiet_NaN();
  ExpectRefused("first moment has a value that is not finite");
}

TEST_F(TrainingStateTest, IsRefusedWithANegativeSecondMoment) {
  state_.second_moment[0] = -1;
  ExpectRefused("negative");
}

TEST_F(TrainingStateTest, IsRefusedWithSumsThatCannotBe) {
  const TrainingState good = state_;
  state_.token_count = -1;
  ExpectRefused("sums");
  state_ = good;
  state_.answer_token_count = 2;
  ExpectRefused("sums");
  state_ = good;
  state_.loss_sum = std::numeric_limits<double>::quiet_NaN();
  ExpectRefused("sums");
  state_ = good;
  state_.seconds = -1;
  ExpectRefused("sums");
  state_.seconds = std::numeric_limits<double>::infinity();
  ExpectRefused("sums");
}

}  // namespace
}  // namespace fedtune
