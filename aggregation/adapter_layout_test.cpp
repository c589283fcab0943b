// SPDX-License-Identifier: Apache-2.0

#include "aggregation/adapter_layout.h"

#include <limits>

#include "aggregation/adapter_bytes.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using fedtune::testing::HasCode;
using fedtune::testing::IsOk;
using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

AdapterModule Query() {
  return {
      .name = "layers.0.q_proj", .in_features = 6, .out_features = 4, .lora_rank = 2, .alpha = 4};
}
AdapterModule Output() {
  return {
      .name = "layers.0.o_proj", .in_features = 3, .out_features = 5, .lora_rank = 1, .alpha = 1.5};
}
AdapterLayout TwoModules() { return *AdapterLayout::Create({Query(), Output()}); }

void ExpectRefused(const AdapterModule& module, std::string_view message) {
  const auto layout = AdapterLayout::Create({Output(), module});
  EXPECT_THAT(layout, HasCode(kInvalid));
  EXPECT_THAT(Message(layout.status()), HasSubstr(message));
}

TEST(AdapterLayoutTest, LaysModulesOneAfterAnotherAndABeforeB) {
  const AdapterLayout layout = TwoModules();
  ASSERT_EQ(layout.tensors().size(), 4u);
  EXPECT_EQ(layout.tensors()[0].offset, 0);
  EXPECT_EQ(layout.tensors()[0].rows, 2);
  EXPECT_EQ(layout.tensors()[0].columns, 6);
  EXPECT_EQ(layout.tensors()[1].offset, 12);
  EXPECT_EQ(layout.tensors()[1].rows, 4);
  EXPECT_EQ(layout.tensors()[1].columns, 2);
  EXPECT_EQ(layout.tensors()[2].offset, 20);
  EXPECT_EQ(layout.tensors()[3].offset, 23);
  EXPECT_EQ(layout.tensors()[3].factor, Factor::kB);
  EXPECT_EQ(layout.parameter_count(), 28);
}

TEST(AdapterLayoutTest, CountsTheValuesOfEachFactor) {
  EXPECT_EQ(TwoModules().parameter_count(FactorSet::kA), 15);
  EXPECT_EQ(TwoModules().parameter_count(FactorSet::kB), 13);
  EXPECT_EQ(TwoModules().parameter_count(FactorSet::kBoth), 28);
}

TEST(AdapterLayoutTest, WritesCanonicalJson) {
  EXPECT_EQ(AdapterLayout::Create({Output()})->ToJson(),
            R"({"modules":[{"name":"layers.0.o_proj","in_features":3,"out_features":5,)"
            R"("lora_rank":1,"alpha":1.5}]})");
}

TEST(AdapterLayoutTest, ReadsWhatItWrites) {
  const auto read = AdapterLayout::FromJson(TwoModules().ToJson());
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(*read, TwoModules());
  EXPECT_EQ(read->parameter_count(), 28);
}

TEST(AdapterLayoutTest, RefusesAnEmptyAdapter) {
  EXPECT_THAT(AdapterLayout::Create({}), HasCode(kInvalid));
}

TEST(AdapterLayoutTest, RefusesANameTwice) {
  ExpectRefused(Output(), "\"layers.0.o_proj\" occurs twice");
}

TEST(AdapterLayoutTest, RefusesANameThatIsNotPlain) {
  for (const std::string& name : {std::string(), std::string("a b"), std::string("a\"b"),
                                  std::string("a\nb"), std::string("\xc3\xa9")}) {
    AdapterModule module = Query();
    module.name = name;
    ExpectRefused(module, "printable characters");
  }
}

TEST(AdapterLayoutTest, RefusesSizesOutOfRange) {
  for (const int64_t size : {int64_t{0}, int64_t{-1}, int64_t{1} << 32}) {
    AdapterModule module = Query();
    module.in_features = size;
    ExpectRefused(module, "in_features");
    module = Query();
    module.out_features = size;
    ExpectRefused(module, "out_features");
  }
}

TEST(AdapterLayoutTest, RefusesARankBelowOne) {
  AdapterModule module = Query();
  module.lora_rank = 0;
  ExpectRefused(module, "lora_rank must be at least 1");
}

TEST(AdapterLayoutTest, TakesMoreRanksThanASmallLayerCanUse) {
  AdapterModule module = Query();
  module.lora_rank = 4096;
  EXPECT_THAT(AdapterLayout::Create({module}), testing::IsOk());
  module.lora_rank = 4097;
  ExpectRefused(module, "lora_rank 4097 is above 4096");
}

TEST(AdapterLayoutTest, RefusesAnAlphaThatIsNotPositive) {
  for (const double alpha : {0.0, -1.0, std::numeric_limits<double>::infinity(),
                             std::numeric_limits<double>::quiet_NaN()}) {
    AdapterModule module = Query();
    module.alpha = alpha;
    ExpectRefused(module, "alpha must be a positive number");
  }
}

TEST(AdapterLayoutTest, RefusesMoreValuesThanCanBeMeant) {
  AdapterModule module = Query();
  module.in_features = int64_t{1} << 31;
  module.lora_rank = int64_t{1} << 20;
  ExpectRefused(module, "at most 2^40 values");
}

TEST(AdapterLayoutTest, RefusesJsonThatIsNotCanonical) {
  EXPECT_THAT(AdapterLayout::FromJson(TwoModules().ToJson() + " "), HasCode(kInvalid));
  std::string other = TwoModules().ToJson();
  other.replace(other.find("1.5"), 3, "15e-1");
  const auto read = AdapterLayout::FromJson(other);
  EXPECT_THAT(Message(read.status()), HasSubstr("canonical"));
}

TEST(AdapterLayoutTest, RefusesJsonWithOtherFields) {
  for (const std::string_view json :
       {"[]", "{}", R"({"modules":3})", R"({"modules":[3]})", R"({"modules":[{"name":"a"}]})",
        R"({"modules":[{"name":1,"in_features":1,"out_features":1,"lora_rank":1,"alpha":1}]})",
        R"({"modules":[{"name":"a","in_features":1.5,"out_features":1,"lora_rank":1,"alpha":1}]})",
        R"({"modules":[{"name":"a","in_features":1,"out_features":1,"lora_rank":1,"alpha":"1"}]})",
        "not json"}) {
    EXPECT_THAT(AdapterLayout::FromJson(json), HasCode(kInvalid)) << json;
  }
}

TEST(AdapterBytesTest, ReadsTheBytesItWrites) {
  const std::vector<float> values = {1.5f, -2, 0};
  const auto read = ValuesFromBytes(ValueBytes(values), 3, "the adapter");
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(*read, values);
}

TEST(AdapterBytesTest, RefusesAnotherNumberOfBytes) {
  const auto read = ValuesFromBytes("12345", 1, "the adapter");
  EXPECT_THAT(read, HasCode(kInvalid));
  EXPECT_EQ(Message(read.status()), "the adapter has 5 bytes, 1 values of 4 are expected");
}

TEST(AdapterBytesTest, NamesTheValueThatIsNotFinite) {
  std::vector<float> values(13);  // B of both modules: 8 and 5 values.
  EXPECT_THAT(CheckFinite(TwoModules(), FactorSet::kB, values, "the contribution"), IsOk());
  values[9] = -std::numeric_limits<float>::infinity();
  values[11] = std::numeric_limits<float>::quiet_NaN();
  const absl::Status status = CheckFinite(TwoModules(), FactorSet::kB, values, "the contribution");
  EXPECT_THAT(status, HasCode(kInvalid));
  EXPECT_EQ(Message(status), "the contribution is not finite at layers.0.o_proj.lora_B[1]");
}

}  // namespace
}  // namespace fedtune
