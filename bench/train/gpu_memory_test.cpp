// SPDX-License-Identifier: Apache-2.0
//
// What a training has on a GPU beside its forecast, without a GPU: the bytes of its
// tensors in the form for GPUs on the CPU.

#include <cstdint>
#include <string>
#include <vector>

#include "aggregation/adapter_init.h"
#include "bench/train/random_model.h"
#include "bench/train/small_mixture.h"
#include "client/training/local_training.h"
#include "client/training/tensor_counter.h"
#include "gtest/gtest.h"
#include "model/transformer/load_model.h"
#include "plan/adapter_targets.h"
#include "plan/cost.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune::bench {
namespace {

using ::fedtune::testing::IsOk;
using ::fedtune::testing::TensorCounter;

constexpr int64_t kLayers = 4;
constexpr int64_t kRecords = 128;
constexpr int64_t kLength = 16;

// As wide as keys, as which the CPU's attention pads values.
constexpr int64_t kValueWidth = 48;

class GpuMemoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    TensorCounter::Start();
    ASSERT_THAT(WriteRandomModel(SmallMixtureConfig(kLayers, kValueWidth), folder_.path()), IsOk());
    const auto description = DescribeBaseModel(folder_.path());
    ASSERT_THAT(description, IsOk());
    description_ = *description;
    plan_.aggregation.mode = AggregationMode::kPlain;
    plan_.training.batch_size = kRecords;
    plan_.training.sequence_length = kLength;
  }

  void Adapt(const std::string& targets) {
    plan_.adapter.targets = {targets};
    layout_ = *ResolveTargets(description_, plan_.adapter);
  }

  int64_t Forecast(int64_t recomputed_layers) const {
    const PlanCost cost =
        EstimateCost(plan_, description_, layout_, ComputeType::kBf16, recomputed_layers);
    return cost.adapter_bytes + cost.activation_bytes;
  }

  int64_t Measured(int64_t recomputed_layers) {
    const auto model = LoadModel(folder_.path(), at::kCPU, ModelForm::kForGpu);
    EXPECT_THAT(model, IsOk());
    TokenizedRecord record;
    for (int32_t i = 0; i < kLength; ++i) {
      record.tokens.push_back(i * 7 % 512);
      record.is_target.push_back(i > 0 ? 1 : 0);
    }
    const std::vector<float> start = InitialAdapter(layout_, 1);
    TrainingRequest request;
    request.layout = &layout_;
    request.adapter = start;
    request.steps = 2;
    request.batch = [&](int64_t) { return Batch(kRecords, &record); };
    request.learning_rate = [](int64_t) { return 1e-4; };
    request.recomputed_layers = recomputed_layers;
    TensorCounter::TakePeakBytes();
    const int64_t before = TensorCounter::Bytes();
    EXPECT_THAT(TrainLocally(*model, request, {}), IsOk());
    return TensorCounter::TakePeakBytes() - before;
  }

  // No more than the forecast, and not so much less that it would be of no use.
  void ExpectWithinForecast(int64_t recomputed_layers) {
    const int64_t measured = Measured(recomputed_layers), forecast = Forecast(recomputed_layers);
    RecordProperty("measured_kb_" + std::to_string(recomputed_layers), measured / 1000);
    RecordProperty("forecast_kb_" + std::to_string(recomputed_layers), forecast / 1000);
    EXPECT_LE(measured, forecast) << recomputed_layers << " recomputed layers";
    EXPECT_GE(measured, forecast / 2) << recomputed_layers << " recomputed layers";
  }

  const testing::TemporaryDirectory folder_;
  Plan plan_;
  BaseModelDescription description_;
  AdapterLayout layout_;
};

TEST_F(GpuMemoryTest, IsWithinTheForecastIfAttentionIsAdapted) {
  Adapt("attention");
  ExpectWithinForecast(0);
  ExpectWithinForecast(kLayers);
}

TEST_F(GpuMemoryTest, IsWithinTheForecastIfExpertsAreAdapted) {
  Adapt("all-linear");
  ExpectWithinForecast(0);
  ExpectWithinForecast(kLayers);
}

}  // namespace
}  // namespace fedtune::bench
