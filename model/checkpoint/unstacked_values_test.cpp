// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/unstacked_values.h"

#include <cmath>
#include <filesystem>
#include <numeric>
#include <string>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

AdapterModule Attention(double alpha = 4) {
  return {.name = "model.layers.0.self_attn.q_proj",
          .in_features = 3,
          .out_features = 5,
          .lora_rank = 2,
          .alpha = alpha};
}

AdapterModule Expert(int64_t index, std::string_view projection, int64_t rank, double alpha) {
  const bool is_down = projection == "down_proj";
  return {.name = fmt::format("model.layers.1.mlp.experts.{}.{}", index, projection),
          .in_features = is_down ? 2 : 3,
          .out_features = is_down ? 3 : 2,
          .lora_rank = rank,
          .alpha = alpha};
}

// Writes adapters and looks whether they come back as they were.
class UnstackedValuesTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::vector<float>> Reread(const std::vector<AdapterModule>& modules,
                                            const PeftForm& form = {}) {
    layout_ = *AdapterLayout::Create(modules);
    values_.resize(static_cast<size_t>(layout_.parameter_count()));
    std::iota(values_.begin(), values_.end(), 1.0F);
    const auto path = folder_.path() / fmt::format("{}", count_++);
    EXPECT_THAT(WritePeftAdapter(path, layout_, values_, "base", form), IsOk());
    stored_ = *ReadPeftAdapter(path);
    return UnstackedValues(stored_, layout_);
  }

  absl::StatusOr<std::vector<float>> As(const std::vector<AdapterModule>& modules) {
    return UnstackedValues(stored_, *AdapterLayout::Create(modules));
  }

  const testing::TemporaryDirectory folder_;
  int count_ = 0;
  AdapterLayout layout_;
  std::vector<float> values_;
  PeftAdapter stored_;
};

TEST_F(UnstackedValuesTest, AreThoseOfALayoutWithoutExperts) {
  const auto values = Reread({Attention(),
                              {.name = "model.layers.0.self_attn.o_proj",
                               .in_features = 3,
                               .out_features = 3,
                               .lora_rank = 1,
                               .alpha = 0.3}});
  ASSERT_THAT(values, IsOk());
  EXPECT_EQ(*values, values_);
}

TEST_F(UnstackedValuesTest, AreWithoutTheExpertsAndRanksThatStackingAdds) {
  for (const PeftExperts experts : {PeftExperts::kSingle, PeftExperts::kFused}) {
    const auto values = Reread({Attention(), Expert(2, "gate_proj", 1, 2),
                                Expert(0, "gate_proj", 2, 4), Expert(0, "up_proj", 2, 4)},
                               {.experts = experts, .rslora = false, .expert_count = 4});
    ASSERT_THAT(values, IsOk()) << values.status();
    EXPECT_EQ(*values, values_);
  }
}

TEST_F(UnstackedValuesTest, HaveTheirScaleAgainWhereThatIsExact) {
  const auto values = Reread({Expert(0, "down_proj", 2, 4), Expert(1, "down_proj", 2, 8)});
  ASSERT_THAT(values, IsOk()) << values.status();
  EXPECT_EQ(*values, values_);
}

// Of alphas for scales alpha / sqrt(rank) the file has twelve digits.
TEST_F(UnstackedValuesTest, HaveTheirScaleAgainWhereTheFileHasItRounded) {
  const auto values = Reread(
      {Expert(0, "gate_proj", 2, 3 * std::sqrt(2)), Expert(1, "gate_proj", 2, 6 * std::sqrt(2))},
      {.experts = PeftExperts::kSingle, .rslora = true, .expert_count = 2});
  ASSERT_THAT(values, IsOk()) << values.status();
  EXPECT_EQ(*values, values_);
}

TEST_F(UnstackedValuesTest, AreUnknownWhereAnotherScaleHasRoundedThem) {
  const auto values = Reread({Expert(0, "down_proj", 2, 4), Expert(1, "down_proj", 2, 6)});
  EXPECT_THAT(values, HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST_F(UnstackedValuesTest, AreRefusedForAnotherLayout) {
  ASSERT_THAT(Reread({Attention()}), IsOk());
  AdapterModule other = Attention();
  other.name = "model.layers.0.self_attn.k_proj";
  EXPECT_THAT(std::string(As({other}).status().message()), HasSubstr("k_proj is missing"));
  EXPECT_THAT(std::string(As({Attention(8)}).status().message()),
              HasSubstr("has the scale 2, and not 4"));
  other = Attention();
  other.lora_rank = 1;
  EXPECT_THAT(std::string(As({other}).status().message()), HasSubstr("has rank 2 from 3 to 5"));
  ASSERT_THAT(Reread({Expert(0, "down_proj", 2, 6)}), IsOk());
  EXPECT_THAT(std::string(As({Expert(0, "down_proj", 2, 4)}).status().message()),
              HasSubstr("has the scale 3, and not 2"));
  ASSERT_THAT(Reread({Attention(), Expert(0, "down_proj", 2, 4)}), IsOk());
  EXPECT_THAT(std::string(As({Attention()}).status().message()), HasSubstr("is one more"));
}

TEST_F(UnstackedValuesTest, AreRefusedWhereAnExpressionMayLeaveModulesOut) {
  ASSERT_THAT(Reread({Attention()}), IsOk());
  stored_.may_leave_out = true;
  EXPECT_THAT(std::string(As({Attention()}).status().message()), HasSubstr("looks ahead"));
}

// Whose experts would be terabytes of zeros.
TEST_F(UnstackedValuesTest, AreRefusedForALayoutThatIsLargerThanTheFile) {
  ASSERT_THAT(Reread({Attention()}), IsOk());
  AdapterModule large = Expert(0, "down_proj", 1 << 12, 4);
  large.in_features = 1 << 26;
  EXPECT_THAT(std::string(As({Attention(), large}).status().message()),
              HasSubstr("it has 16 values, and not 274877919248 or more"));
}

}  // namespace
}  // namespace fedtune
