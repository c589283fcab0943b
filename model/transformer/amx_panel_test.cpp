// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/amx_panel.h"

#include <bit>
#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "model/transformer/matrix_tiles.h"

namespace fedtune {
namespace {

uint32_t Bf16(double value) { return std::bit_cast<uint32_t>(static_cast<float>(value)) >> 16; }

double Widened(uint32_t bits) { return std::bit_cast<float>(bits << 16); }

// Values without a pattern along either side, as bf16.
uint32_t ValueAt(int64_t row, int64_t column) {
  return Bf16(std::sin(static_cast<double>(row * 131 + column * 7 + 1)));
}

float PairOf(uint32_t low, uint32_t high) { return std::bit_cast<float>(low | high << 16); }

using MultiplyFunction = void (*)(std::span<const AmxPanel> panels);

// A panel of a product of some segments, whose rows lie in matrices with some room between
// them.
class PanelProduct {
 public:
  PanelProduct(int64_t rows, int64_t columns, const std::vector<int64_t>& depths)
      : rows_(rows), columns_(columns) {
    for (const int64_t depth : depths) pairs_ += depth;
    const int64_t stride = pairs_ + 5, width = PanelWidth(columns);
    left_.resize(static_cast<size_t>(rows * stride));
    right_.resize(static_cast<size_t>(pairs_ * width));
    for (int64_t k = 0; k < pairs_; ++k) {
      for (int64_t i = 0; i < rows; ++i) {
        left_[static_cast<size_t>(i * stride + k)] =
            PairOf(ValueAt(i, 2 * k), ValueAt(i, 2 * k + 1));
      }
      for (int64_t n = 0; n < columns; ++n) {
        right_[static_cast<size_t>(k * width + n)] =
            PairOf(ValueAt(2 * k, n + 3), ValueAt(2 * k + 1, n + 3));
      }
    }
    int64_t from = 0;
    for (const int64_t depth : depths) {
      segments_.push_back(
          {left_.data() + from, stride, right_.data() + from * width, width, depth});
      from += depth;
    }
  }

  std::vector<float> Computed(bool add, MultiplyFunction multiply) const {
    std::vector<float> result(static_cast<size_t>(rows_ * Stride()), 0.5F);
    const AmxPanel panel = {segments_, {result.data(), Stride(), rows_, columns_, add}};
    multiply({&panel, 1});
    return result;
  }

  // That all values are what they come to, and that nothing is written beside the result.
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

  const std::vector<AmxSegment>& segments() const { return segments_; }

 private:
  int64_t Stride() const { return columns_ + 3; }

  double Exact(int64_t row, int64_t column) const {
    double sum = 0;
    for (int64_t k = 0; k < 2 * pairs_; ++k) {
      sum += Widened(ValueAt(row, k)) * Widened(ValueAt(k, column + 3));
    }
    return sum;
  }

  int64_t rows_, columns_, pairs_ = 0;
  std::vector<float> left_, right_;
  std::vector<AmxSegment> segments_;
};

// By the CPU's tiles where it has them, and by their twin.
void ExpectRight(const PanelProduct& product) {
  for (const bool add : {false, true}) {
    product.Expect(product.Computed(add, MultiplyByTwin), add);
    if (HasAmxKernels()) product.Expect(product.Computed(add, MultiplyByAmx), add);
  }
}

TEST(AmxPanelTest, IsRightForEverySize) {
  for (const int64_t rows : {1, 15, 16, 17, 32, 33, 53}) {
    for (const int64_t columns : {1, 16, 20, 32, 33, 48}) {
      for (const int64_t depth : {16, 48}) {
        SCOPED_TRACE(::testing::Message() << rows << ' ' << columns << ' ' << depth);
        ExpectRight({rows, columns, {depth}});
      }
    }
  }
}

TEST(AmxPanelTest, AddsSegmentsUp) {
  ExpectRight({20, 48, {32, 16}});
  ExpectRight({9, 10, {16, 16, 48}});
}

TEST(AmxPanelTest, MultipliesSeveralAsOneByOne) {
  const PanelProduct first(41, 48, {32}), second(41, 20, {32});
  std::vector<float> of_first(41 * 48), of_second(41 * 20);
  const AmxPanel panels[] = {{first.segments(), {of_first.data(), 48, 41, 48}},
                             {second.segments(), {of_second.data(), 20, 41, 20}}};
  MultiplyByTwin(panels);
  const std::vector<float> alone = first.Computed(false, MultiplyByTwin),
                           other = second.Computed(false, MultiplyByTwin);
  for (size_t i = 0; i < 41; ++i) {
    for (size_t n = 0; n < 48; ++n) ASSERT_EQ(of_first[i * 48 + n], alone[i * 51 + n]);
    for (size_t n = 0; n < 20; ++n) ASSERT_EQ(of_second[i * 20 + n], other[i * 23 + n]);
  }
}

TEST(AmxPanelTest, ARowDoesNotDependOnItsPlace) {
  for (const MultiplyFunction multiply : {MultiplyByTwin, MultiplyByAmx}) {
    if (multiply == MultiplyByAmx && !HasAmxKernels()) continue;
    const PanelProduct all(59, 48, {48});
    const std::vector<float> together = all.Computed(false, multiply);
    for (const int64_t row : {0, 15, 17, 31, 32, 48, 58}) {
      AmxSegment segment = all.segments().front();
      segment.left += row * segment.left_stride;
      std::vector<float> alone(48);
      const AmxPanel panel = {{segment}, {alone.data(), 48, 1, 48}};
      multiply({&panel, 1});
      for (size_t n = 0; n < 48; ++n) {
        EXPECT_EQ(alone[n], together[static_cast<size_t>(row) * 51 + n]) << row << ' ' << n;
      }
    }
  }
}

}  // namespace
}  // namespace fedtune
