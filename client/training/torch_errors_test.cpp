// SPDX-License-Identifier: Apache-2.0

#include "client/training/torch_errors.h"

#include <new>
#include <stdexcept>
#include <string>

#include "c10/util/Exception.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;

absl::Status Thrown(const auto& exception) {
  return CatchingTorch([&]() -> absl::Status { throw exception; });
}

c10::Error LibTorchError(const std::string& message) {
  return c10::Error(c10::SourceLocation{"", "", 0}, message);
}

TEST(TorchErrorsTest, TheAllocatorsErrorIsOfMemory) {
  const absl::Status status =
      Thrown(c10::OutOfMemoryError(c10::SourceLocation{"", "", 0}, "20 GiB for a tensor"));
  EXPECT_THAT(status, HasCode(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(std::string(status.message()), HasSubstr("20 GiB for a tensor"));
}

TEST(TorchErrorsTest, TheStandardLibrarysErrorIsOfMemory) {
  EXPECT_THAT(Thrown(std::bad_alloc()), HasCode(absl::StatusCode::kResourceExhausted));
}

TEST(TorchErrorsTest, WhatLibrariesOfAGpuSayOfItsMemoryIsOfMemory) {
  EXPECT_THAT(Thrown(LibTorchError("CUDA error: out of memory")),
              HasCode(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(Thrown(LibTorchError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling "
                                   "`cublasCreate(handle)`")),
              HasCode(absl::StatusCode::kResourceExhausted));
}

TEST(TorchErrorsTest, AnyOtherErrorIsInternal) {
  const absl::Status status = Thrown(LibTorchError("CUDA error: an illegal memory access"));
  EXPECT_THAT(status, HasCode(absl::StatusCode::kInternal));
  EXPECT_THAT(std::string(status.message()), HasSubstr("LibTorch: CUDA error: an illegal"));
  EXPECT_THAT(Thrown(std::runtime_error("broken")), HasCode(absl::StatusCode::kInternal));
}

TEST(TorchErrorsTest, AFailureThatLeavesTheGpuUsableIsWhatItWas) {
  const absl::Status why = absl::ResourceExhaustedError("20 GiB for a tensor");
  EXPECT_EQ(WithStateOfGpu(why, absl::OkStatus()), why);
}

TEST(TorchErrorsTest, AFailureBehindWhichCudaFailsIsTheLossOfTheGpu) {
  const absl::Status lost =
      WithStateOfGpu(absl::InternalError("LibTorch: CUDA error: an illegal memory access"),
                     absl::InternalError("GPU 1: an illegal memory access was encountered"));
  EXPECT_THAT(lost, HasCode(absl::StatusCode::kAborted));
  EXPECT_EQ(std::string(lost.message()),
            "the GPU is lost (GPU 1: an illegal memory access was encountered): LibTorch: CUDA "
            "error: an illegal memory access");
}

}  // namespace
}  // namespace fedtune
