// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/merged_tensor.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/checkpoint/float_conversion.h"

namespace fedtune {
namespace {

constexpr size_t kPieceBytes = size_t{4} << 20;

// row += scale * b A, where b is a row of B; `delta` is room for one row.
void AddUpdate(const LowRankUpdate& update, size_t row_index, std::span<float> row,
               std::span<float> delta) {
  const auto rank = static_cast<size_t>(update.module->lora_rank);
  const auto scale = static_cast<float>(update.module->scale());
  std::fill(delta.begin(), delta.end(), 0.0F);
  for (size_t k = 0; k < rank; ++k) {
    const float factor = update.b[row_index * rank + k];
    const float* a_row = update.a.data() + k * row.size();
    for (size_t i = 0; i < row.size(); ++i) delta[i] += factor * a_row[i];
  }
  for (size_t i = 0; i < row.size(); ++i) row[i] += scale * delta[i];
}

// The rows of a weight that becomes another, as fp32.
class WeightRows {
 public:
  // `scales` is that of a weight in blocks of FP8; null for the others.
  WeightRows(const TensorView& weight, const TensorView* scales, const Fp8Blocks& blocks)
      : weight_(weight), scales_(scales), blocks_(blocks) {}

  const std::string& name() const { return weight_.name; }
  size_t rows() const { return static_cast<size_t>(weight_.shape[0]); }
  size_t width() const { return static_cast<size_t>(weight_.shape[1]); }
  TensorType merged_type() const { return scales_ == nullptr ? weight_.type : TensorType::kBF16; }
  size_t merged_row_bytes() const {
    return width() * static_cast<size_t>(BytesPerValue(merged_type()));
  }

  void Read(size_t index, std::span<float> row) const {
    const auto bytes = Bytes(index, 1);
    if (scales_ == nullptr) return DecodeFloats(weight_.type, bytes, row);
    const auto block_columns = static_cast<size_t>(blocks_.columns);
    const size_t scales_a_row = static_cast<size_t>(scales_->shape[1]);
    std::vector<float> scales(scales_a_row);
    const size_t row_bytes = scales_a_row * static_cast<size_t>(BytesPerValue(scales_->type));
    DecodeFloats(
        scales_->type,
        scales_->bytes.subspan(index / static_cast<size_t>(blocks_.rows) * row_bytes, row_bytes),
        scales);
    for (size_t i = 0; i < row.size(); ++i) {
      row[i] = FloatFromE4M3(static_cast<uint8_t>(bytes[i])) * scales[i / block_columns];
    }
  }

  void Release(size_t first, size_t count) const { MappedFile::Release(Bytes(first, count)); }

 private:
  std::span<const std::byte> Bytes(size_t first, size_t count) const {
    const size_t row = width() * static_cast<size_t>(BytesPerValue(weight_.type));
    return weight_.bytes.subspan(first * row, count * row);
  }

  const TensorView& weight_;
  const TensorView* scales_;
  const Fp8Blocks blocks_;
};

// Gives a tensor to its sink.
class TensorMaker {
 public:
  explicit TensorMaker(const TensorSink& sink) : sink_(sink) {}

  absl::Status Copy(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const auto piece = bytes.first(std::min(bytes.size(), kPieceBytes));
      RETURN_IF_ERROR(sink_(piece));
      MappedFile::Release(piece);
      bytes = bytes.subspan(piece.size());
    }
    return absl::OkStatus();
  }

  // Row by row, several rows at a time, with what is added, if anything.
  absl::Status Merge(const WeightRows& weight, const LowRankUpdate* update) {
    const size_t row_bytes = weight.merged_row_bytes();
    const size_t rows_a_piece = std::max<size_t>(1, kPieceBytes / row_bytes);
    for (size_t first = 0; first < weight.rows(); first += rows_a_piece) {
      const size_t count = std::min(rows_a_piece, weight.rows() - first);
      std::vector<std::byte> merged(count * row_bytes);
      for (size_t i = 0; i < count; ++i) {
        RETURN_IF_ERROR(MergeRow(weight, first + i, update,
                                 std::span(merged).subspan(i * row_bytes, row_bytes)));
      }
      RETURN_IF_ERROR(sink_(merged));
      weight.Release(first, count);
    }
    return absl::OkStatus();
  }

 private:
  static absl::Status MergeRow(const WeightRows& weight, size_t index, const LowRankUpdate* update,
                               std::span<std::byte> merged) {
    std::vector<float> row(weight.width());
    weight.Read(index, row);
    if (update != nullptr) {
      std::vector<float> delta(row.size());
      AddUpdate(*update, index, row, delta);
    }
    EncodeFloats(weight.merged_type(), row, merged);
    DecodeFloats(weight.merged_type(), merged, row);  // As it will be read.
    if (std::all_of(row.begin(), row.end(), [](float value) { return std::isfinite(value); })) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        fmt::format("tensor {} has a value after merging that is not finite in {}", weight.name(),
                    ToString(weight.merged_type())));
  }

  const TensorSink& sink_;
};

}  // namespace

absl::Status MakeMergedTensor(const Checkpoint& checkpoint, const MergePlan& plan,
                              const TensorView& tensor, const TensorSink& sink) {
  TensorMaker maker(sink);
  const LowRankUpdate* update = plan.UpdateOf(tensor.name);
  if (plan.Widens(tensor.name)) {
    const TensorView* scales = checkpoint.Find(tensor.name + "_scale_inv");
    return maker.Merge({tensor, scales, plan.blocks()}, update);
  }
  if (update != nullptr) return maker.Merge({tensor, nullptr, {}}, update);
  return maker.Copy(tensor.bytes);
}

}  // namespace fedtune
