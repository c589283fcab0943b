// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/products.h"

#include <cstdint>
#include <optional>
#include <string_view>

#include "ATen/Context.h"
#include "ATen/core/LegacyTypeDispatch.h"
#include "ATen/core/List.h"
#include "ATen/core/dispatch/Dispatcher.h"
#include "ATen/ops/mm.h"

namespace fedtune {
namespace {

// oneDNN prepares itself for every new shape, for up to 0.1 ms; below so many
// products of two numbers that takes longer than what it saves.
constexpr int64_t kWorthwhile = int64_t{1} << 22;

bool MklIsSlowHere() {
  static const bool is_slow =
      at::Context::hasMKLDNN() && __builtin_cpu_supports("avx512f") && !__builtin_cpu_is("intel");
  return is_slow;
}

using LinearPointwise = at::Tensor(const at::Tensor& x, const at::Tensor& w,
                                   const std::optional<at::Tensor>& bias, std::string_view function,
                                   c10::List<std::optional<at::Scalar>> scalars,
                                   std::optional<std::string_view> algorithm);

// LibTorch has no C++ header for this operation, which torch.compile() uses.
at::Tensor OneDnnProduct(const at::Tensor& x, const at::Tensor& w) {
  const at::AutoDispatchBelowAutograd no_autograd;
  static const auto operation = c10::Dispatcher::singleton()
                                    .findSchemaOrThrow("mkldnn::_linear_pointwise", "")
                                    .typed<LinearPointwise>();
  return operation.call(x, w, std::nullopt, "none", c10::List<std::optional<at::Scalar>>(), "");
}

}  // namespace

at::Tensor Product(const at::Tensor& x, const at::Tensor& w) {
  const bool is_large = x.size(0) * x.size(1) * w.size(0) >= kWorthwhile;
  if (is_large && x.is_cpu() && x.scalar_type() == at::kFloat && MklIsSlowHere()) {
    return OneDnnProduct(x, w);
  }
  return at::mm(x, w.t());
}

}  // namespace fedtune
