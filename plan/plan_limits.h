// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>

namespace fedtune {

// What the numbers of a plan are at most, and of the command lines that stand for one.
inline constexpr int64_t kMostRounds = 1'000'000;
inline constexpr int64_t kMaxSteps = 1'000'000;
inline constexpr int64_t kMaxEpochs = 10'000;
inline constexpr int64_t kMaxBatchSize = 65'536;
inline constexpr int64_t kMinSequenceLength = 2;  // A prompt and an answer.
inline constexpr int64_t kMaxSequenceLength = 1 << 20;
inline constexpr int64_t kMaxRank = 4096;
inline constexpr size_t kMostPatterns = 1'000;  // Of a table; each takes memory and time.
inline constexpr double kMaxAlpha = 1e6;
inline constexpr double kMaxLearningRate = 100;

// More records than any institution has; keeps weights far from overflow.
inline constexpr int64_t kMaxExamples = int64_t{1} << 40;

}  // namespace fedtune
