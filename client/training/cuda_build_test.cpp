// SPDX-License-Identifier: Apache-2.0
//
// Only in the build with CUDA. Needs its libraries, but neither a GPU nor a
// driver.

#include <set>
#include <string>

#include "ATen/core/dispatch/Dispatcher.h"
#include "client/training/gpu.h"
#include "client/training/training_device_tests.h"
#include "gmock/gmock.h"
#include "model/transformer/fake_device.h"
#include "model/transformer/transformer_device_tests.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::FakeDevice;
using testing::HasCode;
using testing::IsOk;

std::set<std::string> OperationsOnGpus() {
  std::set<std::string> names;
  const auto& dispatcher = c10::Dispatcher::singleton();
  for (const c10::OperatorName& name :
       dispatcher.getRegistrationsForDispatchKey(c10::DispatchKey::CUDA)) {
    names.insert(name.name);
  }
  return names;
}

TEST(CudaBuildTest, LibTorchHasWhatTheSelfTestUsesForGpus) {
  FakeDevice::TakeOperations();
  ASSERT_THAT(RunDeviceTests(TransformerDeviceTests(), FakeDevice::device()), IsOk());
  ASSERT_THAT(RunDeviceTests(TrainingDeviceTests(), FakeDevice::device()), IsOk());
  const std::set<std::string> on_gpus = OperationsOnGpus();
  for (const std::string& operation : FakeDevice::TakeOperations()) {
    EXPECT_THAT(on_gpus, ::testing::Contains(operation.substr(0, operation.find(' '))));
  }
}

// What only GPUs have, and takes the place of many small operations there.
TEST(CudaBuildTest, LibTorchHasFusedAttentionAndGroupedProductsForGpus) {
  EXPECT_THAT(
      OperationsOnGpus(),
      ::testing::IsSupersetOf({"aten::_grouped_mm", "aten::_scaled_dot_product_efficient_attention",
                               "aten::_scaled_dot_product_efficient_attention_backward"}));
}

TEST(CudaBuildTest, GpusAreThereOrCudaSaysWhyNot) {
  const absl::StatusOr<int> count = CountGpus();
  if (count.ok()) {
    EXPECT_GT(*count, 0);
    EXPECT_THAT(DescribeGpu(0), IsOk());
  } else {
    EXPECT_THAT(count, HasCode(absl::StatusCode::kNotFound));
    EXPECT_THAT(std::string(count.status().message()),
                ::testing::StartsWith("CUDA finds no GPU: "));
  }
}

}  // namespace
}  // namespace fedtune
