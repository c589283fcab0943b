// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/peft_experts.h"

#include <map>
#include <numeric>

#include "base/files.h"
#include "base/status.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "model/checkpoint/peft_adapter.h"
#include "model/checkpoint/safetensors.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::testing::Contains;
using ::testing::DoubleNear;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using ::testing::Not;
using ::testing::Pointwise;

constexpr int64_t kHidden = 3, kWidth = 2;

AdapterModule Expert(int64_t index, std::string_view projection, int64_t rank = 2,
                     double alpha = 4) {
  const bool is_down = projection == "down_proj";
  return {.name = fmt::format("model.layers.1.mlp.experts.{}.{}", index, projection),
          .in_features = is_down ? kWidth : kHidden,
          .out_features = is_down ? kHidden : kWidth,
          .lora_rank = rank,
          .alpha = alpha};
}

struct Named {
  AdapterLayout layout;
  std::vector<float> values;
};

Named Adapter(std::vector<AdapterModule> modules) {
  Named adapter{*AdapterLayout::Create(std::move(modules)), {}};
  adapter.values.resize(static_cast<size_t>(adapter.layout.parameter_count()));
  std::iota(adapter.values.begin(), adapter.values.end(), 1.0F);
  return adapter;
}

// scale B A, row-major.
std::vector<double> Change(const AdapterModule& module, const float* a, const float* b) {
  std::vector<double> change;
  for (int64_t row = 0; row < module.out_features; ++row) {
    for (int64_t column = 0; column < module.in_features; ++column) {
      double sum = 0;
      for (int64_t k = 0; k < module.lora_rank; ++k) {
        sum +=
            static_cast<double>(b[row * module.lora_rank + k]) * a[k * module.in_features + column];
      }
      change.push_back(module.scale() * sum);
    }
  }
  return change;
}

// By the module's name.
std::map<std::string, std::vector<double>> Changes(const AdapterLayout& layout,
                                                   std::span<const float> values) {
  std::map<std::string, std::vector<double>> changes;
  for (size_t m = 0; m < layout.modules().size(); ++m) {
    const AdapterModule& module = layout.modules()[m];
    const float* a = values.data() + layout.tensors()[2 * m].offset;
    const float* b = values.data() + layout.tensors()[2 * m + 1].offset;
    changes[module.name] = Change(module, a, b);
  }
  return changes;
}

class PeftExpertsTest : public ::testing::Test {
 protected:
  // What is read back from what was written.
  PeftAdapter Reread(const Named& adapter, const PeftForm& form) {
    const auto path = folder_.path() / fmt::format("{}", count_++);
    EXPECT_THAT(WritePeftAdapter(path, adapter.layout, adapter.values, "base", form), IsOk());
    auto read = ReadPeftAdapter(path);
    EXPECT_THAT(read, IsOk()) << read.status();
    last_ = path;
    return *std::move(read);
  }

  const testing::TemporaryDirectory folder_;
  std::filesystem::path last_;
  int count_ = 0;
};

std::vector<AdapterModule> AllOf(int64_t experts) {
  std::vector<AdapterModule> modules;
  for (int64_t i = 0; i < experts; ++i) {
    for (const char* projection : {"gate_proj", "up_proj", "down_proj"}) {
      modules.push_back(Expert(i, projection));
    }
  }
  return modules;
}

TEST_F(PeftExpertsTest, BothFormsGiveBackTheBitsOfAllExperts) {
  Named adapter = Adapter(AllOf(3));
  for (const PeftExperts form : {PeftExperts::kSingle, PeftExperts::kFused}) {
    const PeftAdapter read = Reread(adapter, {.experts = form});
    const auto values = ReadPeftAdapter(last_, adapter.layout);
    ASSERT_THAT(values, IsOk()) << values.status();
    EXPECT_EQ(*values, adapter.values);
    EXPECT_EQ(read.layout.modules().size(), 9U);
  }
}

TEST_F(PeftExpertsTest, FusedTensorsLieAsPeftHasThem) {
  const Named adapter = Adapter(AllOf(3));
  Reread(adapter, {.experts = PeftExperts::kFused});
  const auto file = SafetensorsFile::Open(last_ / "adapter_model.safetensors");
  ASSERT_THAT(file, IsOk());
  const std::string experts = "base_model.model.model.layers.1.mlp.experts";
  std::map<std::string, std::string> shapes;
  for (const TensorView& tensor : file->tensors()) {
    shapes[tensor.name] = ShapeToString(tensor.shape);
  }
  EXPECT_EQ(shapes,
            (std::map<std::string, std::string>{{experts + ".base_layer.lora_A.weight", "[12, 3]"},
                                                {experts + ".base_layer.lora_B.weight", "[4, 12]"},
                                                {experts + ".lora_A.weight", "[6, 2]"},
                                                {experts + ".lora_B.weight", "[3, 6]"}}));
  // Expert 1's second rank: row 1 * 2 + 1 of A, column 1 * 3 + 1 of B.
  const TensorView* b = file->Find(experts + ".lora_B.weight");
  const auto* stored = reinterpret_cast<const float*>(b->bytes.data());
  const auto offset = static_cast<size_t>(adapter.layout.tensors()[11].offset);  // Expert 1's B.
  EXPECT_EQ(stored[4], adapter.values[offset + 1]);
}

TEST_F(PeftExpertsTest, ASubsetIsFilledUpAndLeftOutAgain) {
  const Named adapter = Adapter({Expert(1, "gate_proj"),
                                 Expert(1, "down_proj"),
                                 Expert(2, "up_proj"),
                                 {.name = "model.layers.1.self_attn.q_proj",
                                  .in_features = 3,
                                  .out_features = 3,
                                  .lora_rank = 1,
                                  .alpha = 2}});
  for (const PeftExperts form : {PeftExperts::kSingle, PeftExperts::kFused}) {
    const PeftAdapter read = Reread(adapter, {.experts = form, .expert_count = 5});
    EXPECT_EQ(Changes(read.layout, read.values), Changes(adapter.layout, adapter.values));
  }
}

std::vector<std::string> TensorsOf(const std::filesystem::path& adapter) {
  const auto file = SafetensorsFile::Open(adapter / "adapter_model.safetensors");
  EXPECT_THAT(file, IsOk());
  std::vector<std::string> names;
  for (const TensorView& tensor : file->tensors()) names.push_back(tensor.name);
  return names;
}

// peft would drop single factors of gate_proj and up_proj, with a warning at most.
TEST_F(PeftExpertsTest, GateOrUpAloneHaveADownOfZerosBesideThemWhereFactorsAreSingle) {
  for (const char* projection : {"gate_proj", "up_proj"}) {
    const Named adapter = Adapter({Expert(0, projection), Expert(1, projection)});
    const PeftAdapter read = Reread(adapter, {});
    EXPECT_THAT(TensorsOf(last_), Contains(HasSubstr("experts.1.down_proj.lora_B")));
    EXPECT_EQ(Changes(read.layout, read.values), Changes(adapter.layout, adapter.values));
    Reread(adapter, {.experts = PeftExperts::kFused});
    EXPECT_THAT(TensorsOf(last_), Not(Contains(HasSubstr("base_layer"))));
  }
}

TEST_F(PeftExpertsTest, UnequalRanksAndScalesComeToTheSameChange) {
  const Named adapter = Adapter({Expert(0, "gate_proj", 1, 2), Expert(0, "up_proj", 2, 2),
                                 Expert(1, "gate_proj", 2, 8), Expert(1, "up_proj", 1, 1),
                                 Expert(0, "down_proj", 1, 1), Expert(1, "down_proj", 2, 3)});
  for (const PeftExperts form : {PeftExperts::kSingle, PeftExperts::kFused}) {
    const PeftAdapter read = Reread(adapter, {.experts = form});
    const auto expected = Changes(adapter.layout, adapter.values);
    const auto changes = Changes(read.layout, read.values);
    ASSERT_EQ(changes.size(), expected.size());
    for (const auto& [name, change] : changes) {
      EXPECT_THAT(change, Pointwise(DoubleNear(1e-4), expected.at(name))) << name;
    }
  }
}

TEST_F(PeftExpertsTest, RefusesAnExpertThatTheModelDoesNotHave) {
  const Named adapter = Adapter({Expert(4, "up_proj")});
  const absl::Status status = WritePeftAdapter(folder_.path() / "adapter", adapter.layout,
                                               adapter.values, "base", {.expert_count = 4});
  ASSERT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Message(status), HasSubstr("experts.4.up_proj: the base model has 4 experts"));
}

// A parameter of `experts` experts as peft trains it: nothing of it is zero.
FactorMatrices GateUp(int64_t experts, int64_t rank) {
  FactorMatrices parameter{.name = "m.experts.gate_up_proj",
                           .rank = rank,
                           .in_features = kHidden,
                           .out_features = 2 * kWidth,
                           .a = {},
                           .b = {}};
  parameter.a.resize(static_cast<size_t>(experts * rank * kHidden));
  parameter.b.resize(static_cast<size_t>(experts * rank * 2 * kWidth));
  std::iota(parameter.a.begin(), parameter.a.end(), 1.0F);
  std::iota(parameter.b.begin(), parameter.b.end(), 100.0F);
  return parameter;
}

TEST(SplitExpertsTest, GateAndUpHaveTheAThatTheyShare) {
  const auto split = SplitExperts(GateUp(2, 2), 0.5);
  ASSERT_THAT(split, IsOk());
  ASSERT_EQ(split->modules.size(), 4U);
  EXPECT_EQ(split->modules[3].name, "m.experts.1.up_proj");
  EXPECT_EQ(split->modules[3].lora_rank, 2);
  EXPECT_EQ(split->modules[3].scale(), 0.5);
  EXPECT_EQ(split->factors[2].a, split->factors[3].a);
  EXPECT_EQ(split->factors[3].a, (std::vector<float>{7, 8, 9, 10, 11, 12}));
  // Rows 2 and 3, columns k * 2 + 1.
  EXPECT_EQ(split->factors[3].b, (std::vector<float>{109, 111, 113, 115}));
}

TEST(SplitExpertsTest, RefusesSizesThatDoNotFit) {
  FactorMatrices parameter = GateUp(2, 2);
  parameter.rank = 3;
  EXPECT_THAT(SplitExperts(parameter, 1), HasCode(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace fedtune
