// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/weight_reader.h"

#include <cstring>
#include <optional>

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
    default:
      return std::nullopt;
  }
}

bool IsAligned(const TensorView& tensor) {
  const auto address = reinterpret_cast<uintptr_t>(tensor.bytes.data());
  return address % static_cast<uintptr_t>(BytesPerValue(tensor.type)) == 0;
}

absl::Status CheckShape(const TensorView& tensor, const std::vector<int64_t>& shape) {
  if (tensor.shape == shape) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "{} is {}, but config.json makes it {}; the weights and the configuration are not "
      "of one model",
      tensor.name, ShapeToString(tensor.shape), ShapeToString(shape)));
}

}  // namespace

at::Tensor WeightReader::View(std::string_view name, const std::vector<int64_t>& shape) {
  const absl::StatusOr<TensorView> found = checkpoint_.Get(name);
  status_.Update(found.status());
  if (!status_.ok()) return {};
  status_.Update(CheckShape(*found, shape));
  const std::optional<at::ScalarType> type = ScalarTypeOf(found->type);
  if (!type) {
    status_.Update(absl::InvalidArgumentError(fmt::format(
        "{} has values of type {}; weights must be BF16, F16 or F32: convert the checkpoint", name,
        ToString(found->type))));
  }
  if (!status_.ok()) return {};
  if (IsAligned(*found)) {
    return at::from_blob(const_cast<std::byte*>(found->bytes.data()), shape, *type);
  }
  at::Tensor copy = at::empty(shape, *type);
  std::memcpy(copy.mutable_data_ptr(), found->bytes.data(), found->bytes.size());
  return copy;
}

at::Tensor WeightReader::Take(std::string_view name, const std::vector<int64_t>& shape,
                              at::ScalarType type) {
  const at::Tensor view = View(name, shape);
  return view.defined() ? view.to(device_, type) : view;
}

at::Tensor WeightReader::TakeAsStored(std::string_view name, const std::vector<int64_t>& shape) {
  const at::Tensor view = View(name, shape);
  return view.defined() ? view.to(device_) : view;
}

}  // namespace fedtune
