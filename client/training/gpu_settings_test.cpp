// SPDX-License-Identifier: Apache-2.0

#include "client/training/gpu_settings.h"

#include "ATen/Context.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

TEST(GpuSettingsTest, AttentionIsNotCudnns) {
  ApplyGpuSettings();
  EXPECT_FALSE(at::globalContext().userEnabledCuDNNSDP());
  EXPECT_TRUE(at::globalContext().userEnabledFlashSDP());
  EXPECT_TRUE(at::globalContext().userEnabledMemEfficientSDP());
}

TEST(GpuSettingsTest, ProductsInFp32AreOfFullPrecisionWhateverTheEnvironmentSays) {
  at::globalContext().setFloat32MatmulPrecision("high");
  ASSERT_TRUE(at::globalContext().allowTF32CuBLAS());
  ApplyGpuSettings();
  EXPECT_FALSE(at::globalContext().allowTF32CuBLAS());
}

}  // namespace
}  // namespace fedtune
