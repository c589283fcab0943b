// SPDX-License-Identifier: Apache-2.0

#include "aggregation/adapter_init.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "aggregation/adapter_bytes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {
namespace {

AdapterLayout Layout() {
  return *AdapterLayout::Create(
      {{.name = "q", .in_features = 400, .out_features = 300, .lora_rank = 16, .alpha = 32},
       {.name = "k", .in_features = 400, .out_features = 20, .lora_rank = 16, .alpha = 32}});
}

std::span<const float> Values(const std::vector<float>& adapter, const AdapterTensor& tensor) {
  return std::span(adapter).subspan(static_cast<size_t>(tensor.offset),
                                    static_cast<size_t>(tensor.size()));
}

TEST(InitialAdapterTest, StartsEqualToTheBaseModel) {
  const AdapterLayout layout = Layout();
  const std::vector<float> adapter = InitialAdapter(layout, 7);
  for (const AdapterTensor& tensor : layout.tensors()) {
    if (tensor.factor != Factor::kB) continue;
    EXPECT_THAT(Values(adapter, tensor), ::testing::Each(0.0f));
  }
}

TEST(InitialAdapterTest, DrawsAUniformlyWithinPeftsBound) {
  const AdapterLayout layout = Layout();
  const std::vector<float> adapter = InitialAdapter(layout, 7);
  const std::span<const float> a = Values(adapter, layout.tensors()[0]);
  const double bound = 1 / std::sqrt(400.0);
  double sum = 0;
  double squares = 0;
  for (const float value : a) {
    ASSERT_LE(std::abs(value), static_cast<float>(bound));
    sum += value;
    squares += double{value} * value;
  }
  const auto count = static_cast<double>(a.size());
  // Five standard deviations of the mean, and of the variance, of a uniform.
  EXPECT_NEAR(sum / count, 0, 5 * bound / std::sqrt(3 * count));
  EXPECT_NEAR(squares / count / (bound * bound / 3), 1, 5 * std::sqrt(0.8 / count));
}

TEST(InitialAdapterTest, DiffersBetweenModulesAndSeeds) {
  const AdapterLayout layout = Layout();
  const std::vector<float> adapter = InitialAdapter(layout, 7);
  const std::vector<float> other = InitialAdapter(layout, 8);
  const auto first = Values(adapter, layout.tensors()[0]);
  const auto second = Values(adapter, layout.tensors()[2]);
  const auto reseeded = Values(other, layout.tensors()[0]);
  EXPECT_FALSE(std::equal(first.begin(), first.end(), second.begin()));
  EXPECT_FALSE(std::equal(first.begin(), first.end(), reseeded.begin()));
}

// The bytes are part of the protocol: a changed digest here means that older
// runs cannot be recomputed.
TEST(InitialAdapterTest, GivesTheSameBytesEverywhere) {
  EXPECT_EQ(Sha256Of(ValueBytes(InitialAdapter(Layout(), 7))).ToHex(),
            "b0e8396911c33c3ed35a41d71470f680d3e7e2269e44c129c585270589537738");
}

}  // namespace
}  // namespace fedtune
