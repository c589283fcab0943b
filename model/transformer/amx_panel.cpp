// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/amx_panel.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/cpu.h"
#include "model/transformer/matrix_tiles.h"

namespace fedtune {

#if defined(__x86_64__)

namespace {

constexpr int64_t kVector = 16;
constexpr int64_t kPairBytes = 4;
constexpr int64_t kVectorBytes = kVector * kPairBytes;
constexpr int64_t kAmxRows = 16;
constexpr size_t kTileValues = kAmxRows * kVector;

// Sums lie in a block of two tiles by three, whose factors then come from memory less often
// than from one by three: 7 of them for 6 products.
constexpr int kMostRowTiles = 2;
constexpr int kMostVectors = kPanelColumns / kVector;
constexpr size_t kMostSums = kMostRowTiles * kMostVectors;

const std::byte* BytesOf(const float* values) { return reinterpret_cast<const std::byte*>(values); }

// What LDTILECFG takes: eight tiles, of which the right factor's alone is always whole.
struct alignas(64) TileConfiguration {
  explicit TileConfiguration(uint8_t count) {
    rows = {count, count, count, count, count, count, count, 16};
  }

  uint8_t palette = 1;
  uint8_t start_row = 0;
  std::array<uint8_t, 14> reserved = {};
  std::array<uint16_t, 16> row_bytes = {64, 64, 64, 64, 64, 64, 64, 64};
  std::array<uint8_t, 16> rows;
};
static_assert(sizeof(TileConfiguration) == 64);

// The instructions, for tiles of some rows. Tiles 0 to 5 hold sums, 6 the left factor, 7 the
// right one. Strides of sums are counted in values, those of factors in bytes. Compilers are
// told that memory is read, but not which.
class AmxTiles {
 public:
  explicit AmxTiles(int64_t rows) {
    const TileConfiguration configuration(static_cast<uint8_t>(rows));
    asm volatile("ldtilecfg %0" : : "m"(configuration));
  }
  AmxTiles(const AmxTiles&) = delete;
  AmxTiles& operator=(const AmxTiles&) = delete;
  ~AmxTiles() { asm volatile("tilerelease"); }

  template <int kSum>
  [[gnu::always_inline]] inline void Zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(kSum));
  }
  template <int kSum>
  [[gnu::always_inline]] inline void LoadSum(const float* from, int64_t stride) {
    Load<kSum>(BytesOf(from), kPairBytes * stride);
  }
  template <int kSum>
  [[gnu::always_inline]] inline void StoreSum(float* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c0, (%1,%2,1)"
                 :
                 : "i"(kSum), "r"(to), "r"(kPairBytes * stride)
                 : "memory");
  }
  [[gnu::always_inline]] inline void LoadLeft(const std::byte* from, int64_t stride) {
    Load<kLeft>(from, stride);
  }
  [[gnu::always_inline]] inline void LoadRight(const std::byte* from, int64_t stride) {
    Load<kRight>(from, stride);
  }
  // Past the first cache, where the left factor's rows can stay.
  [[gnu::always_inline]] inline void StreamRight(const std::byte* from, int64_t stride) {
    asm volatile("tileloaddt1 (%1,%2,1), %%tmm%c0"
                 :
                 : "i"(kRight), "r"(from), "r"(stride)
                 : "memory");
  }
  template <int kSum>
  [[gnu::always_inline]] inline void AddProduct() {
    asm volatile("tdpbf16ps %%tmm7, %%tmm6, %%tmm%c0" : : "i"(kSum));
  }

 private:
  static constexpr int kLeft = 6, kRight = 7;

  template <int kTile>
  [[gnu::always_inline]] static inline void Load(const std::byte* from, int64_t stride) {
    asm volatile("tileloadd (%1,%2,1), %%tmm%c0" : : "i"(kTile), "r"(from), "r"(stride) : "memory");
  }
};

// Computes what the manual says of TDPBF16PS.
class TwinTiles {
 public:
  explicit TwinTiles(int64_t rows) : rows_(rows) {}

  template <int kSum>
  void Zero() {
    sums_[kSum] = {};
  }
  template <int kSum>
  void LoadSum(const float* from, int64_t stride) {
    sums_[kSum] = Loaded<float>(BytesOf(from), kPairBytes * stride, rows_);
  }
  template <int kSum>
  void StoreSum(float* to, int64_t stride) const {
    for (int64_t row = 0; row < rows_; ++row) {
      std::memcpy(to + row * stride, sums_[kSum].data() + row * kVector, kVector * sizeof(float));
    }
  }
  void LoadLeft(const std::byte* from, int64_t stride) {
    left_ = Loaded<uint32_t>(from, stride, rows_);
  }
  void LoadRight(const std::byte* from, int64_t stride) {
    right_ = Loaded<uint32_t>(from, stride, kAmxRows);
  }
  void StreamRight(const std::byte* from, int64_t stride) { LoadRight(from, stride); }
  template <int kSum>
  void AddProduct() {
    for (size_t at = 0; at < kTileValues; ++at) {
      const size_t row = at / kVector * kVector, column = at % kVector;
      float low = 0, high = 0;
      for (size_t k = 0; k < kPairSteps; ++k) {
        low += Low(left_[row + k]) * Low(right_[k * kVector + column]);
        high += High(left_[row + k]) * High(right_[k * kVector + column]);
      }
      sums_[kSum][at] += low + high;
    }
  }

 private:
  template <typename Value>
  using Values = std::array<Value, kTileValues>;

  template <typename Value>
  static Values<Value> Loaded(const std::byte* from, int64_t stride, int64_t rows) {
    Values<Value> values = {};
    for (int64_t row = 0; row < rows; ++row) {
      std::memcpy(values.data() + row * kVector, from + row * stride, kVector * sizeof(float));
    }
    return values;
  }
  static float Low(uint32_t pair) { return std::bit_cast<float>(pair << 16); }
  static float High(uint32_t pair) { return std::bit_cast<float>(pair & 0xffff0000U); }

  const int64_t rows_;
  std::array<Values<float>, kMostSums> sums_ = {};
  Values<uint32_t> left_ = {}, right_ = {};
};

// Where a step of depth begins: in both rows of tiles, and in the panel. Strides in bytes.
struct Step {
  const std::byte* above;
  const std::byte* below;
  const std::byte* right;
  int64_t left_stride;
  int64_t right_stride;
};

// Adds the products of one step of depth. Factors are loaded in an order in which one of two
// stays: rows down, then up.
template <int kRowTiles, int kVectors, typename Tiles>
[[gnu::always_inline]] inline void AddStep(const Step& step, Tiles& tiles) {
  constexpr int kLower = kVectors * (kRowTiles - 1);  // The first sum of the last row of tiles.
  tiles.LoadLeft(step.above, step.left_stride);
  if constexpr (kVectors == 1) {  // All of a narrow panel stays in the first cache itself.
    tiles.LoadRight(step.right, step.right_stride);
  } else {
    tiles.StreamRight(step.right, step.right_stride);
  }
  tiles.template AddProduct<0>();
  if constexpr (kRowTiles == 2) {
    tiles.LoadLeft(step.below, step.left_stride);
    tiles.template AddProduct<kVectors>();
  }
  if constexpr (kVectors > 1) {
    tiles.StreamRight(step.right + kVectorBytes, step.right_stride);
    tiles.template AddProduct<kLower + 1>();
    if constexpr (kRowTiles == 2) {
      tiles.LoadLeft(step.above, step.left_stride);
      tiles.template AddProduct<1>();
    }
  }
  if constexpr (kVectors > 2) {
    tiles.StreamRight(step.right + 2 * kVectorBytes, step.right_stride);
    tiles.template AddProduct<2>();
    if constexpr (kRowTiles == 2) {
      tiles.LoadLeft(step.below, step.left_stride);
      tiles.template AddProduct<kVectors + 2>();
    }
  }
}

// Calls `use` with the number of each sum, known when this is compiled.
template <int kCount, typename Use>
[[gnu::always_inline]] inline void ForSums(const Use& use) {
  [&use]<int... kSums>(std::integer_sequence<int, kSums...> /*sums*/) {
    (use(std::integral_constant<int, kSums>()), ...);
  }
  (std::make_integer_sequence<int, kCount>());
}

// The sums of a block of whole vectors from a row of the segments on.
template <int kRowTiles, int kVectors, typename Tiles>
void MultiplyBlock(std::span<const AmxSegment> segments, int64_t row, const MatrixResult& block,
                   Tiles& tiles) {
  const auto place = [&block](int sum) {
    return block.data + sum / kVectors * kAmxRows * block.stride + sum % kVectors * kVector;
  };
  ForSums<kRowTiles * kVectors>([&](auto sum) {
    if (block.add) {
      tiles.template LoadSum<sum>(place(sum), block.stride);
    } else {
      tiles.template Zero<sum>();
    }
  });
  const std::byte* ahead = BytesOf(block.data);
  const std::byte* const end = ahead + block.rows * kVectorBytes / kVector * block.stride;
  for (const AmxSegment& segment : segments) {
    const int64_t left_stride = kPairBytes * segment.left_stride;
    const std::byte* left = BytesOf(segment.left) + row * left_stride;
    Step step = {left, left + kAmxRows * left_stride, BytesOf(segment.right), left_stride,
                 kPairBytes * segment.right_stride};
    for (int64_t k = 0; k < segment.depth; k += kPairSteps) {
      for (int i = 0; i < 2 && ahead < end; ++i, ahead += kPairBytes * block.stride) {
        for (int n = 0; n < kVectors; ++n) __builtin_prefetch(ahead + n * kVectorBytes, 1);
      }
      AddStep<kRowTiles, kVectors>(step, tiles);
      step.above += kVectorBytes;
      step.below += kVectorBytes;
      step.right += kPairSteps * step.right_stride;
    }
  }
  ForSums<kRowTiles * kVectors>(
      [&](auto sum) { tiles.template StoreSum<sum>(place(sum), block.stride); });
}

void CopyRows(const MatrixResult& from, const MatrixResult& to) {
  for (int64_t i = 0; i < to.rows; ++i) {
    std::copy_n(from.data + i * from.stride, to.columns, to.data + i * to.stride);
  }
}

// The same where the last vector may be part of one: then in room of its own.
template <int kRowTiles, int kVectors, typename Tiles>
void MultiplyPart(std::span<const AmxSegment> segments, int64_t row, int64_t rows,
                  const MatrixResult& panel, Tiles& tiles) {
  const MatrixResult part = {panel.data + row * panel.stride, panel.stride, rows, panel.columns,
                             panel.add};
  if (panel.columns == kVectors * kVector) {
    return MultiplyBlock<kRowTiles, kVectors>(segments, row, part, tiles);
  }
  alignas(64) std::array<float, kRowTiles * kVectors * kTileValues> room;
  const MatrixResult whole = {room.data(), kVectors * kVector, rows, panel.columns, panel.add};
  if (panel.add) CopyRows(part, whole);
  MultiplyBlock<kRowTiles, kVectors>(segments, row, whole, tiles);
  CopyRows(whole, part);
}

// Some rows of a panel, from a row on.
template <int kRowTiles, typename Tiles>
void MultiplyRows(const AmxPanel& panel, int64_t row, int64_t rows, Tiles& tiles) {
  if (panel.result.columns <= kVector) {
    MultiplyPart<kRowTiles, 1>(panel.segments, row, rows, panel.result, tiles);
  } else if (panel.result.columns <= 2 * kVector) {
    MultiplyPart<kRowTiles, 2>(panel.segments, row, rows, panel.result, tiles);
  } else {
    MultiplyPart<kRowTiles, 3>(panel.segments, row, rows, panel.result, tiles);
  }
}

// Rows go through all panels together, so that what is left of them is in the first cache.
template <typename Tiles>
void MultiplyWith(std::span<const AmxPanel> panels) {
  const int64_t all = panels.front().result.rows, whole = all / kAmxRows * kAmxRows;
  if (whole > 0) {
    Tiles tiles(kAmxRows);
    int64_t row = 0;
    for (; row + 2 * kAmxRows <= whole; row += 2 * kAmxRows) {
      for (const AmxPanel& panel : panels) MultiplyRows<2>(panel, row, 2 * kAmxRows, tiles);
    }
    for (const AmxPanel& panel : panels) {
      if (row < whole) MultiplyRows<1>(panel, row, kAmxRows, tiles);
    }
  }
  if (whole == all) return;
  Tiles tiles(all - whole);
  for (const AmxPanel& panel : panels) MultiplyRows<1>(panel, whole, all - whole, tiles);
}

// A small whole number as a pair's half, exactly.
uint32_t HalfOf(int value) { return std::bit_cast<uint32_t>(static_cast<float>(value)) >> 16; }

// A product of small whole numbers, which is exact however it adds up.
bool TilesMultiplyRight() {
  constexpr int kRows = 2 * kAmxRows + 3, kDepth = 2 * kPairSteps, kColumns = kPanelColumns;
  const auto left = [](int row, int k) { return (3 * row + 5 * k) % 11 - 5; };
  const auto right = [](int k, int column) { return (7 * k + 2 * column) % 13 - 6; };
  std::array<float, kRows * kPairSteps> rows;
  std::array<float, kPairSteps * kColumns> panel;
  for (int i = 0; i < kRows; ++i) {
    for (int k = 0; k < kDepth; k += 2) {
      rows[static_cast<size_t>(i * kPairSteps + k / 2)] =
          std::bit_cast<float>(HalfOf(left(i, k)) | HalfOf(left(i, k + 1)) << 16);
    }
  }
  for (int k = 0; k < kDepth; k += 2) {
    for (int n = 0; n < kColumns; ++n) {
      panel[static_cast<size_t>(k / 2 * kColumns + n)] =
          std::bit_cast<float>(HalfOf(right(k, n)) | HalfOf(right(k + 1, n)) << 16);
    }
  }
  std::array<float, kRows * kColumns> result;
  const AmxPanel product = {{{rows.data(), kPairSteps, panel.data(), kColumns, kPairSteps}},
                            {result.data(), kColumns, kRows, kColumns}};
  MultiplyByAmx({&product, 1});
  for (int i = 0; i < kRows; ++i) {
    for (int n = 0; n < kColumns; ++n) {
      int expected = 0;
      for (int k = 0; k < kDepth; ++k) expected += left(i, k) * right(k, n);
      if (result[static_cast<size_t>(i * kColumns + n)] != static_cast<float>(expected))
        return false;
    }
  }
  return true;
}

}  // namespace

bool HasAmxKernels() {
  static const bool has = UsableCpuLevel() >= CpuLevel::kAmxBf16 && TilesMultiplyRight();
  return has;
}

void MultiplyByAmx(std::span<const AmxPanel> panels) { MultiplyWith<AmxTiles>(panels); }

void MultiplyByTwin(std::span<const AmxPanel> panels) { MultiplyWith<TwinTiles>(panels); }

#else

bool HasAmxKernels() { return false; }

void MultiplyByAmx(std::span<const AmxPanel> /*panels*/) { Check(false, "a CPU without tiles"); }

void MultiplyByTwin(std::span<const AmxPanel> /*panels*/) { Check(false, "a CPU without tiles"); }

#endif

}  // namespace fedtune
