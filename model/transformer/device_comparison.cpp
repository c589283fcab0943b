// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/device_comparison.h"

#include "ATen/TensorOperators.h"
#include "ATen/ops/abs.h"
#include "ATen/ops/arange.h"
#include "ATen/ops/floor.h"
#include "ATen/ops/max.h"
#include "ATen/ops/sin.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "c10/util/Exception.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

absl::Status Failed(std::string_view name, std::string_view what) {
  return absl::FailedPreconditionError(fmt::format("{} {}", name, what));
}

absl::Status Compare(const at::Tensor& expected, const at::Tensor& actual, const DeviceTest& test) {
  if (expected.sizes() != actual.sizes()) return Failed(test.name, "has a result of another shape");
  const at::Tensor wide = expected.to(at::kDouble);
  const double size = at::max(at::abs(wide)).item<double>();
  const double difference = at::max(at::abs(actual.to(at::kDouble) - wide)).item<double>();
  if (difference <= test.tolerance * size) return absl::OkStatus();  // False for NaN, too.
  return Failed(test.name, fmt::format("differs from the CPU's by {:.3g} where {:.3g} is the "
                                       "largest value",
                                       difference, size));
}

}  // namespace

absl::Status RunDeviceTest(const DeviceTest& test, at::Device device) {
  const std::vector<at::Tensor> expected = test.run(at::kCPU);
  std::vector<at::Tensor> actual;
  try {
    for (const at::Tensor& result : test.run(device)) actual.push_back(result.to(at::kCPU));
  } catch (const c10::Error& error) {
    const std::string_view message = error.what_without_backtrace();
    return Failed(test.name, fmt::format("failed ({})", message.substr(0, message.find('\n'))));
  }
  Check(expected.size() == actual.size(), "a test has as many results on each device");
  for (size_t i = 0; i < expected.size(); ++i) {
    RETURN_IF_ERROR(Compare(expected[i], actual[i], test));
  }
  return absl::OkStatus();
}

absl::Status RunDeviceTests(std::span<const DeviceTest> tests, at::Device device) {
  for (const DeviceTest& test : tests) RETURN_IF_ERROR(RunDeviceTest(test, device));
  return absl::OkStatus();
}

at::Tensor TestNumbers(at::IntArrayRef shape, double seed, at::Device device, at::ScalarType type) {
  const at::Tensor index =
      at::arange(c10::multiply_integers(shape), at::TensorOptions(at::kDouble));
  const at::Tensor large = at::sin(index * 12.9898 + seed) * 43758.5453;
  return ((large - at::floor(large)) * 2 - 1).view(shape).to(type).to(device);
}

}  // namespace fedtune
