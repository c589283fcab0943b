// SPDX-License-Identifier: Apache-2.0
//
// What tokens add to the memory of a training, each in a process of its own, beside its
// forecast. (What a program of tests has before it trains is not what fedtune-client has.)

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "aggregation/adapter_init.h"
#include "bench/train/random_model.h"
#include "bench/train/small_mixture.h"
#include "client/training/tensor_memory.h"
#include "client/training/torch_trainer.h"
#include "gtest/gtest.h"
#include "model/transformer/matrix_products.h"
#include "plan/adapter_targets.h"
#include "plan/cost.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune::bench {
namespace {

using ::fedtune::testing::IsOk;

constexpr int64_t kLayers = 6;

class RecomputedMemoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_THAT(WriteRandomModel(SmallMixtureConfig(kLayers, /*value_width=*/32), folder_.path()),
                IsOk());
    plan_.aggregation.mode = AggregationMode::kPlain;
    plan_.aggregation.method = AggregationMethod::kFedit;
    plan_.adapter.targets = {"all-linear"};
    const auto model = DescribeBaseModel(folder_.path());
    ASSERT_THAT(model, IsOk());
    model_ = *model;
    layout_ = *ResolveTargets(model_, plan_.adapter);
  }

  // Steps of so many records of 256 tokens; or, for none, of one of 8.
  int64_t Forecast(int64_t records, int64_t recomputed_layers) const {
    Plan plan = plan_;
    plan.training.batch_size = std::max<int64_t>(1, records);
    plan.training.sequence_length = LengthOf(records);
    return EstimateCost(plan, model_, layout_, ComputeType::kFp32, recomputed_layers)
        .memory_bytes();
  }

  static int64_t LengthOf(int64_t records) { return records == 0 ? 8 : 256; }

  bool Train(int64_t records, int64_t recomputed_layers) const {
    KeepTensorsTogether();
    const auto trainer = OpenTorchTrainer(
        {.model_directory = folder_.path(), .device = ComputeDevice::Cpu(), .threads = 1});
    TokenizedRecord record;
    for (int32_t i = 0; i < LengthOf(records); ++i) {
      record.tokens.push_back(i * 7 % 512);
      record.is_target.push_back(i > 0 ? 1 : 0);
    }
    const std::vector<float> start = InitialAdapter(layout_, 1);
    TrainingRequest request;
    request.layout = &layout_;
    request.adapter = start;
    request.steps = 2;
    request.batch = [&](int64_t) { return Batch(std::max<size_t>(1, records), &record); };
    request.learning_rate = [](int64_t) { return 1e-4; };
    request.recomputed_layers = recomputed_layers;
    return trainer.ok() && (*trainer)->Train(request).ok();
  }

  // The most that a process had that did nothing else.
  int64_t Measured(int64_t records, int64_t recomputed_layers) const {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(Train(records, recomputed_layers) ? 0 : 1);
    int status = 0;
    rusage usage = {};
    EXPECT_EQ(::wait4(child, &status, 0, &usage), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "the training failed";
    return usage.ru_maxrss * 1024;
  }

  const testing::TemporaryDirectory folder_;
  Plan plan_;
  BaseModelDescription model_;
  AdapterLayout layout_;
};

TEST_F(RecomputedMemoryTest, IsLessAsTheForecastSays) {
  const int64_t measured_before = Measured(0, 0), forecast_before = Forecast(0, 0);
  int64_t last = 0;
  for (const int64_t layers : {int64_t{0}, kLayers / 2, kLayers}) {
    const int64_t measured = Measured(8, layers) - measured_before;
    const int64_t forecast = Forecast(8, layers) - forecast_before;
    RecordProperty("measured_mb_" + std::to_string(layers), measured / 1'000'000);
    RecordProperty("forecast_mb_" + std::to_string(layers), forecast / 1'000'000);
    if (layers > 0) {
      EXPECT_LT(measured, last - 50'000'000) << layers << " layers";
    }
    // Without our kernels activations are others. 10 MB are for what does not grow with
    // the tokens.
    if (HasMatrixKernels()) {
      EXPECT_NEAR(static_cast<double>(measured), static_cast<double>(forecast),
                  0.1 * static_cast<double>(forecast) + 10e6)
          << layers << " layers";
    }
    last = measured;
  }
}

}  // namespace
}  // namespace fedtune::bench
