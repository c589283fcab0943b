// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/amx_panel.h"

#include <bit>
#include <cmath>
#include <vector>

#include "gtest/gtest.h"

namespace fedtune {
namespace {

uint32_t Bf16(double value) { return std::bit_cast<uint32_t>(static_cast<float>(value)) >> 16; }

double Widened(uint32_t bits) { return std::bit_cast<float>(bits << 16); }

// Values without a pattern along either side, as bf16.
uint32_t ValueAt(int64_t row, int64_t column) {
  return Bf16(std::sin(static_cast<double>(row * 131 + column * 7 + 1)));
}

float PairOf(uint32_t low, uint32_t high) { return std::bit_cast<float>(low | high << 16); }

// A panel of a product and its segments: pairs, whose rows lie in a matrix with some room
// between them, and behind them fp32 values.
class PanelProduct {
 public:
  PanelProduct(int64_t rows, int64_t pairs, int64_t columns, int64_t fp32_depth = 0)
      : rows_(rows), pairs_(pairs), columns_(columns), fp32_depth_(fp32_depth) {
    const int64_t stride = pairs + 5, width = PanelWidth(columns);
    left_.resize(static_cast<size_t>(rows * stride));
    right_.resize(static_cast<size_t>(pairs * width));
    for (int64_t i = 0; i < rows; ++i) {
      begins_.push_back(left_.data() + i * stride);
      for (int64_t k = 0; k < pairs; ++k) {
        left_[static_cast<size_t>(i * stride + k)] =
            PairOf(ValueAt(i, 2 * k), ValueAt(i, 2 * k + 1));
      }
    }
    for (int64_t k = 0; k < pairs; ++k) {
      for (int64_t n = 0; n < columns; ++n) {
        right_[static_cast<size_t>(k * width + n)] =
            PairOf(ValueAt(2 * k, n + 3), ValueAt(2 * k + 1, n + 3));
      }
    }
    segments_.push_back({TileValues::kBf16Pairs, begins_.data(), 1, right_.data(), width, pairs});
    if (fp32_depth > 0) AddFp32();
  }

  // Rows that are chosen from anywhere.
  void Scatter() {
    for (int64_t i = 0; i < rows_; ++i) order_.push_back(i * 7 % rows_);
    std::vector<const float*> scattered;
    for (const int64_t row : order_) scattered.push_back(begins_[static_cast<size_t>(row)]);
    begins_ = scattered;
    segments_.front().left = begins_.data();
  }

  std::vector<float> Computed(bool add, void (*multiply)(std::span<const TileSegment>,
                                                         const MatrixResult&)) const {
    std::vector<float> result(static_cast<size_t>(rows_ * Stride()), 0.5F);
    multiply(segments_, {result.data(), Stride(), rows_, columns_, add});
    return result;
  }

  // The largest difference from what the values come to, and whether nothing is written
  // beside the result.
  void Expect(const std::vector<float>& result, bool add) const {
    for (int64_t i = 0; i < rows_; ++i) {
      for (int64_t n = 0; n < Stride(); ++n) {
        const float value = result[static_cast<size_t>(i * Stride() + n)];
        if (n >= columns_) {
          ASSERT_EQ(value, 0.5F) << i << ' ' << n;
        } else {
          ASSERT_NEAR(value, Exact(i, n) + (add ? 0.5 : 0), 1e-4) << i << ' ' << n;
        }
      }
    }
  }

  const std::vector<TileSegment>& segments() const { return segments_; }

 private:
  int64_t Stride() const { return columns_ + 3; }

  double Exact(int64_t row, int64_t column) const {
    const int64_t from = order_.empty() ? row : order_[static_cast<size_t>(row)];
    double sum = 0;
    for (int64_t k = 0; k < 2 * pairs_; ++k) {
      sum += Widened(ValueAt(from, k)) * Widened(ValueAt(k, column + 3));
    }
    for (int64_t k = 0; k < fp32_depth_; ++k) sum += 0.25 * static_cast<double>((row + k) % 5);
    return sum;
  }

  void AddFp32() {
    const int64_t width = PanelWidth(columns_);
    fp32_left_.resize(static_cast<size_t>(rows_ * fp32_depth_));
    fp32_right_.assign(static_cast<size_t>(fp32_depth_ * width), 0.25F);
    for (int64_t i = 0; i < rows_; ++i) {
      fp32_begins_.push_back(fp32_left_.data() + i * fp32_depth_);
      for (int64_t k = 0; k < fp32_depth_; ++k) {
        fp32_left_[static_cast<size_t>(i * fp32_depth_ + k)] = static_cast<float>((i + k) % 5);
      }
    }
    segments_.push_back(
        {TileValues::kFp32, fp32_begins_.data(), 1, fp32_right_.data(), width, fp32_depth_});
  }

  int64_t rows_, pairs_, columns_, fp32_depth_;
  std::vector<int64_t> order_;
  std::vector<float> left_, right_, fp32_left_, fp32_right_;
  std::vector<const float*> begins_, fp32_begins_;
  std::vector<TileSegment> segments_;
};

// By the CPU's tiles where it has them, and by their twin.
void ExpectRight(const PanelProduct& product) {
  for (const bool add : {false, true}) {
    product.Expect(product.Computed(add, MultiplyPanelByTwin), add);
    if (HasAmxKernels()) product.Expect(product.Computed(add, MultiplyPanelByAmx), add);
  }
}

class AmxPanelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!HasBf16Kernels()) GTEST_SKIP() << "this CPU has no kernels for bf16";
  }
};

TEST_F(AmxPanelTest, IsRightForEverySize) {
  for (const int64_t rows : {1, 15, 16, 17, 40}) {
    for (const int64_t pairs : {16, 17, 64, 90}) {
      for (const int64_t columns : {1, 16, 20, 33, 48}) {
        SCOPED_TRACE(::testing::Message() << rows << ' ' << pairs << ' ' << columns);
        ExpectRight({rows, pairs, columns});
      }
    }
  }
}

TEST_F(AmxPanelTest, TakesRowsFromAnywhere) {
  for (const int64_t rows : {3, 16, 50}) {
    PanelProduct product(rows, 35, 48);
    product.Scatter();
    ExpectRight(product);
  }
}

TEST_F(AmxPanelTest, AddsSegmentsOfFp32) {
  ExpectRight({20, 32, 48, 16});
  ExpectRight({9, 20, 10, 3});
}

TEST_F(AmxPanelTest, ARowDoesNotDependOnItsPlace) {
  const PanelProduct all(40, 40, 48);
  const std::vector<float> together = all.Computed(false, MultiplyPanelByTwin);
  for (const int64_t row : {0, 15, 17, 39}) {
    TileSegment segment = all.segments().front();
    segment.left += row;
    std::vector<float> alone(48);
    MultiplyPanelByTwin({&segment, 1}, {alone.data(), 48, 1, 48});
    for (size_t n = 0; n < 48; ++n) {
      EXPECT_EQ(alone[n], together[static_cast<size_t>(row) * 51 + n]) << row << ' ' << n;
    }
  }
}

TEST(AmxSegmentTest, TilesTakeWholeStepsOfPairs) {
  TileSegment segment;
  segment.depth = 100;
  EXPECT_FALSE(IsForTiles(segment));
  segment.values = TileValues::kBf16Pairs;
  EXPECT_TRUE(IsForTiles(segment));
  segment.depth = 15;
  EXPECT_FALSE(IsForTiles(segment));
}

}  // namespace
}  // namespace fedtune
