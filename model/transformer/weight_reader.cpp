// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/weight_reader.h"

#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

#include "ATen/ops/empty.h"
#include "ATen/ops/from_blob.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

std::optional<at::ScalarType> ScalarTypeOf(TensorType type) {
  switch (type) {
    case TensorType::kF32:
      return at::kFloat;
    case TensorType::kBF16:
      return at::kBFloat16;
    case TensorType::kF16:
      return at::kHalf;
    case TensorType::kF8E4M3:
      return at::kFloat8_e4m3fn;
    default:
      return std::nullopt;
  }
}

bool IsAligned(const TensorView& tensor) {
  const auto address = reinterpret_cast<uintptr_t>(tensor.bytes.data());
  return address % static_cast<uintptr_t>(BytesPerValue(tensor.type)) == 0;
}

absl::Status CheckShape(const TensorView& tensor, const std::vector<int64_t>& shape,
                        const Checkpoint& checkpoint) {
  if (tensor.shape == shape) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "{}: tensor {} is {}, but config.json makes it {}; the weights and the configuration are not "
      "of one model",
      checkpoint.directory().string(), tensor.name, ShapeToString(tensor.shape),
      ShapeToString(shape)));
}

}  // namespace

at::Tensor WeightReader::View(std::string_view name, const std::vector<int64_t>& shape, Fp8 fp8) {
  const absl::StatusOr<TensorView> found = checkpoint_.Get(name);
  status_.Update(found.status());
  if (!status_.ok()) return {};
  status_.Update(CheckShape(*found, shape, checkpoint_));
  const std::optional<at::ScalarType> type = ScalarTypeOf(found->type);
  if (!type || (type == at::kFloat8_e4m3fn && fp8 == Fp8::kRefused)) {
    status_.Update(absl::InvalidArgumentError(fmt::format(
        "{}: tensor {} has values of type {}; weights must be BF16, F16 or F32: convert the "
        "checkpoint",
        checkpoint_.directory().string(), name, ToString(found->type))));
  }
  if (!status_.ok()) return {};
  if (IsAligned(*found)) {
    return at::from_blob(const_cast<std::byte*>(found->bytes.data()), shape, *type);
  }
  at::Tensor copy = at::empty(shape, *type);
  std::memcpy(copy.mutable_data_ptr(), found->bytes.data(), found->bytes.size());
  return copy;
}

at::Tensor WeightReader::Finite(std::string_view name, at::Tensor values) {
  // One value that is not finite makes the sum so, and no sum of weights overflows.
  if (std::isfinite(values.sum(at::kFloat).item<float>())) return values;
  status_.Update(absl::InvalidArgumentError(fmt::format(
      "{}: tensor {} has a value that is not finite; the checkpoint is damaged, or its values "
      "are too large for {}",
      checkpoint_.directory().string(), name, c10::toString(values.scalar_type()))));
  return {};
}

at::Tensor WeightReader::Take(std::string_view name, const std::vector<int64_t>& shape,
                              at::ScalarType type) {
  const at::Tensor view = View(name, shape);
  if (!view.defined()) return view;
  at::Tensor taken = view.to(device_, type);
  const bool stays = taken.is_same(view) && shape.size() > 1;
  return stays ? taken : Finite(name, std::move(taken));
}

at::Tensor WeightReader::TakeAsStored(std::string_view name, const std::vector<int64_t>& shape) {
  const at::Tensor view = View(name, shape);
  return view.defined() ? view.to(device_) : view;
}

at::Tensor WeightReader::TakeScaled(std::string_view name, const std::vector<int64_t>& shape,
                                    const Fp8Blocks& blocks, at::ScalarType type) {
  const at::Tensor view = View(name, shape, Fp8::kAllowed);
  if (!view.defined() || view.scalar_type() != at::kFloat8_e4m3fn) {
    return view.defined() ? Finite(name, view.to(device_, type)) : view;
  }
  const std::vector<int64_t> scale_shape = {(shape[0] + blocks.rows - 1) / blocks.rows,
                                            (shape[1] + blocks.columns - 1) / blocks.columns};
  const at::Tensor scales = Take(fmt::format("{}_scale_inv", name), scale_shape, at::kFloat);
  if (!scales.defined()) return {};
  const at::Tensor scale_of_value = scales.repeat_interleave(blocks.rows, 0)
                                        .narrow(0, 0, shape[0])
                                        .repeat_interleave(blocks.columns, 1)
                                        .narrow(1, 0, shape[1]);
  return Finite(name, view.to(device_, at::kFloat).mul_(scale_of_value).to(type));
}

}  // namespace fedtune
