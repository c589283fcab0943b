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
#include "base/status_macros.h"
#include "base/usable_cores.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr std::string_view kMagic = "FTOPT1\n";
constexpr size_t kHeadBytes = kMagic.size() + 4 * sizeof(int64_t);

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

// A piece of one tensor that the round has trained.
struct Piece {
  Factor factor;
  size_t begin;       // In the block.
  size_t mean_begin;  // In the block's mean.
  size_t size;
};

// So many values that follow each other in the adapter, whatever tensors they belong
// to: small enough for a core's cache, with its share of what the mean is made from.
struct Block {
  int64_t first = 0;
  size_t size = 0;
  int64_t mean_first = 0;  // Among the values of the round's factors.
  size_t mean_size = 0;
  std::vector<Piece> pieces = {};
};

constexpr int64_t kBlockValues = SteppedValues::kBlockValues;
constexpr size_t kBlocksPerThread = 4;  // Fewer are not worth a thread.

std::vector<Block> BlocksOf(const AdapterLayout& layout, FactorSet factors) {
  std::vector<Block> blocks;
  int64_t mean_first = 0;
  for (const AdapterTensor& tensor : layout.tensors()) {
    for (int64_t begin = 0; begin < tensor.size();) {
      const int64_t first = tensor.offset + begin;
      const int64_t in_block = first % kBlockValues;
      const auto size =
          static_cast<size_t>(std::min(kBlockValues - in_block, tensor.size() - begin));
      if (in_block == 0) blocks.push_back({.first = first, .mean_first = mean_first});
      Block& block = blocks.back();
      if (Contains(factors, tensor.factor)) {
        block.pieces.push_back({.factor = tensor.factor,
                                .begin = block.size,
                                .mean_begin = block.mean_size,
                                .size = size});
        block.mean_size += size;
        mean_first += static_cast<int64_t>(size);
      }
      block.size += size;
      begin += static_cast<int64_t>(size);
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
  const auto cores = static_cast<size_t>(UsableCores());
  std::vector<std::jthread> others;
  for (size_t i = 1; i < std::min(useful, cores); ++i) {
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

std::string OptimizerStateHead::ToBytes() const {
  std::string bytes(kMagic);
  for (const int64_t number : {steps_a, steps_b, first_count, second_count}) Append(bytes, number);
  return bytes;
}

uint64_t OptimizerStateHead::FirstAt(int64_t index) const {
  return kHeadBytes + sizeof(float) * static_cast<uint64_t>(index);
}

absl::StatusOr<OptimizerStateHead> ReadOptimizerStateHead(std::string_view stored,
                                                          int64_t parameter_count) {
  const auto invalid = [](std::string_view what) {
    return absl::InvalidArgumentError(fmt::format("server optimiser state: {}", what));
  };
  if (!stored.starts_with(kMagic) || stored.size() < kHeadBytes) {
    return invalid("it does not begin as one");
  }
  std::string_view numbers = stored.substr(kMagic.size());
  OptimizerStateHead head;
  for (int64_t* number : {&head.steps_a, &head.steps_b, &head.first_count, &head.second_count}) {
    *number = TakeInteger(numbers);
  }
  if (head.steps_a < 0 || head.steps_b < 0) return invalid("a count of rounds is negative");
  for (const int64_t size : {head.first_count, head.second_count}) {
    if (size != 0 && size != parameter_count) {
      return invalid(
          fmt::format("moments of {} values for an adapter of {}", size, parameter_count));
    }
  }
  if (stored.size() != head.stored_bytes()) return invalid("it has another length than it says");
  return head;
}

OptimizerStateHead Next(OptimizerStateHead head, ServerRule rule, FactorSet factors,
                        int64_t parameter_count) {
  if (Contains(factors, Factor::kA)) ++head.steps_a;
  if (Contains(factors, Factor::kB)) ++head.steps_b;
  if (rule != ServerRule::kAverage) head.first_count = parameter_count;
  if (rule == ServerRule::kAdam) head.second_count = parameter_count;
  return head;
}

absl::Status ApplyServerStep(const AdapterLayout& layout, const MeanSource& mean,
                             const ServerStep& step, const OptimizerStateHead& head,
                             SteppedValues& values) {
  const auto part = [](std::span<float> all, const Piece& piece) {
    return all.empty() ? all : all.subspan(piece.begin, piece.size);
  };
  return ForEach(BlocksOf(layout, mean.factors()), [&](const Block& block) -> absl::Status {
    std::vector<float> delta(block.mean_size);
    if (!delta.empty()) RETURN_IF_ERROR(mean.Mean(block.mean_first, delta));
    std::vector<float> before(block.size);
    std::vector<float> first_moment(head.first_count > 0 ? block.size : 0);
    std::vector<float> second_moment(head.second_count > 0 ? block.size : 0);
    const SteppedValues::Block all{
        .values = before, .first_moment = first_moment, .second_moment = second_moment};
    RETURN_IF_ERROR(values.Load(block.first, all));
    for (const Piece& piece : block.pieces) {
      StepSlice(step, piece.factor == Factor::kA ? head.steps_a : head.steps_b,
                {.mean = std::span(delta).subspan(piece.mean_begin, piece.size),
                 .values = part(all.values, piece),
                 .first = part(all.first_moment, piece),
                 .second = part(all.second_moment, piece)});
    }
    return values.Store(block.first, all);
  });
}

}  // namespace fedtune
