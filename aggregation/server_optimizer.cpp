// SPDX-License-Identifier: Apache-2.0

// Compiled without contraction of a * b + c into one rounding, so that the same
// bytes come out on every processor.

#include "aggregation/server_optimizer.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <mutex>
#include <thread>

#include "absl/status/status.h"
#include "aggregation/adapter_bytes.h"
#include "base/check.h"
#include "base/status_macros.h"
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

// A piece of one tensor.
struct Piece {
  Factor factor;
  int64_t first;   // Among the values of the round's factors.
  int64_t offset;  // In the adapter.
  size_t size;
};

// So many values that follow each other among those of the round's factors, whatever
// tensors they belong to: small enough for a core's cache, with its share of what the
// mean is made from.
struct Block {
  int64_t first;
  size_t size;
  std::vector<Piece> pieces;
};

constexpr int64_t kBlockValues = 16 << 10;
constexpr size_t kBlocksPerThread = 32;  // Fewer are not worth a thread.

std::vector<Block> BlocksOf(const AdapterLayout& layout, FactorSet factors) {
  std::vector<Block> blocks;
  int64_t first = 0;
  for (const AdapterTensor& tensor : layout.tensors()) {
    if (!Contains(factors, tensor.factor)) continue;
    for (int64_t begin = 0; begin < tensor.size();) {
      const int64_t in_block = first % kBlockValues;
      const int64_t size = std::min(kBlockValues - in_block, tensor.size() - begin);
      if (in_block == 0) blocks.push_back({.first = first, .size = 0, .pieces = {}});
      Block& block = blocks.back();
      block.pieces.push_back({.factor = tensor.factor,
                              .first = first,
                              .offset = tensor.offset + begin,
                              .size = static_cast<size_t>(size)});
      block.size += static_cast<size_t>(size);
      begin += size;
      first += size;
    }
  }
  return blocks;
}

// Does `work` for each block, on several threads where there are many; the first
// error ends it.
absl::Status ForEach(const std::vector<Block>& blocks,
                     const std::function<absl::Status(const Block&)>& work) {
  std::mutex mutex;
  absl::Status result;
  size_t next = 0;
  const auto take = [&](const absl::Status& last) -> const Block* {
    const std::lock_guard lock(mutex);
    result.Update(last);
    return result.ok() && next < blocks.size() ? &blocks[next++] : nullptr;
  };
  const auto run = [&] {
    absl::Status last;
    while (const Block* block = take(last)) last = work(*block);
  };
  const size_t useful = blocks.size() / kBlocksPerThread;
  std::vector<std::jthread> others;
  for (size_t i = 1; i < std::min<size_t>(useful, std::thread::hardware_concurrency()); ++i) {
    others.emplace_back(run);
  }
  run();
  others.clear();
  return result;
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
  std::string bytes;
  bytes.reserve(kMagic.size() + 4 * sizeof(int64_t) +
                sizeof(float) * (state.first_moment.size() + state.second_moment.size()));
  bytes += kMagic;
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

absl::Status ApplyServerStep(const AdapterLayout& layout, FactorSet factors, const ServerStep& step,
                             const MeanReader& mean, std::span<float> adapter,
                             ServerOptimizerState& state) {
  Check(std::ssize(adapter) == layout.parameter_count(), "the adapter does not fit its layout");
  Prepare(step.rule, adapter.size(), state);
  if (Contains(factors, Factor::kA)) ++state.steps_a;
  if (Contains(factors, Factor::kB)) ++state.steps_b;
  const auto part = [](std::span<float> all, const Piece& piece) {
    return all.empty() ? all : all.subspan(static_cast<size_t>(piece.offset), piece.size);
  };
  return ForEach(BlocksOf(layout, factors), [&](const Block& block) -> absl::Status {
    std::vector<float> values(block.size);
    RETURN_IF_ERROR(mean(block.first, values));
    for (const Piece& piece : block.pieces) {
      const auto begin = static_cast<size_t>(piece.first - block.first);
      StepSlice(step, piece.factor == Factor::kA ? state.steps_a : state.steps_b,
                {.mean = std::span(values).subspan(begin, piece.size),
                 .values = part(adapter, piece),
                 .first = part(state.first_moment, piece),
                 .second = part(state.second_moment, piece)});
    }
    return absl::OkStatus();
  });
}

}  // namespace fedtune
