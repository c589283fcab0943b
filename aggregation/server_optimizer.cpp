// SPDX-License-Identifier: Apache-2.0

// Compiled without contraction of a * b + c into one rounding, so that the same
// bytes come out on every processor.

#include "aggregation/server_optimizer.h"

#include <cfloat>
#include <cmath>
#include <cstring>

#include "absl/status/status.h"
#include "aggregation/adapter_bytes.h"
#include "base/check.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr std::string_view kMagic = "FTOPT1\n";

// Rounds to fp32; what is below its normal range becomes 0.
float Rounded(double value) {
  const auto rounded = static_cast<float>(value);
  return std::abs(rounded) < FLT_MIN ? 0.0f : rounded;
}

// base^exponent by multiplication alone: std::pow may differ between machines.
double Power(double base, int64_t exponent) {
  double power = 1;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) != 0) power *= base;
    base *= base;
  }
  return power;
}

// One tensor's values and moments.
struct Slice {
  std::span<const float> mean;
  std::span<float> values;
  std::span<float> first;   // Empty when the rule has none.
  std::span<float> second;  // Empty when the rule has none.
};

void StepAverage(const ServerStep& step, const Slice& slice) {
  const double rate = step.learning_rate;
  for (size_t i = 0; i < slice.values.size(); ++i) {
    slice.values[i] = Rounded(slice.values[i] + rate * slice.mean[i]);
  }
}

void StepMomentum(const ServerStep& step, const Slice& slice) {
  const double rate = step.learning_rate;
  const double beta1 = step.beta1;
  for (size_t i = 0; i < slice.values.size(); ++i) {
    slice.first[i] = Rounded(beta1 * slice.first[i] + slice.mean[i]);
    slice.values[i] = Rounded(slice.values[i] + rate * slice.first[i]);
  }
}

void StepAdam(const ServerStep& step, int64_t t, const Slice& slice) {
  const double rate = step.learning_rate;
  const double beta1 = step.beta1;
  const double beta2 = step.beta2;
  const double epsilon = step.epsilon;
  const double correction1 = 1 - Power(beta1, t);
  const double correction2 = 1 - Power(beta2, t);
  for (size_t i = 0; i < slice.values.size(); ++i) {
    const double mean = slice.mean[i];
    slice.first[i] = Rounded(beta1 * slice.first[i] + (1 - beta1) * mean);
    slice.second[i] = Rounded(beta2 * slice.second[i] + (1 - beta2) * mean * mean);
    const double scale = std::sqrt(slice.second[i] / correction2) + epsilon;
    slice.values[i] = Rounded(slice.values[i] + rate * (slice.first[i] / correction1) / scale);
  }
}

void StepSlice(const ServerStep& step, int64_t t, const Slice& slice) {
  switch (step.rule) {
    case ServerRule::kAverage:
      return StepAverage(step, slice);
    case ServerRule::kMomentum:
      return StepMomentum(step, slice);
    case ServerRule::kAdam:
      return StepAdam(step, t, slice);
  }
}

// The moments that the rule needs, as zeros if they are new.
void Prepare(ServerRule rule, size_t size, ServerOptimizerState& state) {
  if (rule != ServerRule::kAverage && state.first_moment.empty()) {
    state.first_moment.resize(size);
  }
  if (rule == ServerRule::kAdam && state.second_moment.empty()) {
    state.second_moment.resize(size);
  }
}

template <typename T>
void Append(std::string& bytes, const T& value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

int64_t TakeInteger(std::string_view& bytes) {
  int64_t value = 0;
  std::memcpy(&value, bytes.data(), sizeof(value));
  bytes.remove_prefix(sizeof(value));
  return value;
}

}  // namespace

std::string ToBytes(const ServerOptimizerState& state) {
  std::string bytes(kMagic);
  Append(bytes, state.steps_a);
  Append(bytes, state.steps_b);
  Append(bytes, static_cast<int64_t>(state.first_moment.size()));
  Append(bytes, static_cast<int64_t>(state.second_moment.size()));
  bytes += ValueBytes(state.first_moment);
  bytes += ValueBytes(state.second_moment);
  return bytes;
}

absl::StatusOr<ServerOptimizerState> ServerOptimizerStateFromBytes(std::string_view bytes,
                                                                   int64_t parameter_count) {
  const auto invalid = [](std::string_view what) {
    return absl::InvalidArgumentError(fmt::format("server optimiser state: {}", what));
  };
  if (!bytes.starts_with(kMagic) || bytes.size() < kMagic.size() + 4 * sizeof(int64_t)) {
    return invalid("it does not begin as one");
  }
  bytes.remove_prefix(kMagic.size());
  ServerOptimizerState state;
  state.steps_a = TakeInteger(bytes);
  state.steps_b = TakeInteger(bytes);
  const int64_t first = TakeInteger(bytes);
  const int64_t second = TakeInteger(bytes);
  if (state.steps_a < 0 || state.steps_b < 0) return invalid("a count of rounds is negative");
  for (const int64_t size : {first, second}) {
    if (size != 0 && size != parameter_count) {
      return invalid(
          fmt::format("moments of {} values for an adapter of {}", size, parameter_count));
    }
  }
  if (bytes.size() != static_cast<size_t>(first + second) * sizeof(float)) {
    return invalid("it has another length than it says");
  }
  const size_t first_bytes = static_cast<size_t>(first) * sizeof(float);
  state.first_moment = *ValuesFromBytes(bytes.substr(0, first_bytes), first, "moment");
  state.second_moment = *ValuesFromBytes(bytes.substr(first_bytes), second, "moment");
  return state;
}

void ApplyServerStep(const AdapterLayout& layout, FactorSet factors, const ServerStep& step,
                     std::span<const float> mean, std::span<float> adapter,
                     ServerOptimizerState& state) {
  Check(std::ssize(adapter) == layout.parameter_count(), "the adapter does not fit its layout");
  Check(std::ssize(mean) == layout.parameter_count(factors), "the mean does not fit the layout");
  Prepare(step.rule, adapter.size(), state);
  if (Contains(factors, Factor::kA)) ++state.steps_a;
  if (Contains(factors, Factor::kB)) ++state.steps_b;
  const auto part = [](std::span<float> all, const AdapterTensor& tensor) {
    return all.empty() ? all
                       : all.subspan(static_cast<size_t>(tensor.offset),
                                     static_cast<size_t>(tensor.size()));
  };
  for (const AdapterTensor& tensor : layout.tensors()) {
    if (!Contains(factors, tensor.factor)) continue;
    const auto size = static_cast<size_t>(tensor.size());
    StepSlice(step, tensor.factor == Factor::kA ? state.steps_a : state.steps_b,
              {.mean = mean.first(size),
               .values = part(adapter, tensor),
               .first = part(state.first_moment, tensor),
               .second = part(state.second_moment, tensor)});
    mean = mean.subspan(size);
  }
}

}  // namespace fedtune
