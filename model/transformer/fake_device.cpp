// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/fake_device.h"

#include <cstdint>
#include <cstring>
#include <mutex>
#include <utility>

#include "ATen/EmptyTensor.h"
#include "ATen/TensorOperators.h"
#include "ATen/detail/PrivateUse1HooksInterface.h"
#include "ATen/native/CPUFallback.h"
#include "ATen/ops/_reshape_alias_native.h"
#include "ATen/ops/as_strided_native.h"
#include "ATen/ops/from_blob.h"
#include "ATen/ops/resize_native.h"
#include "ATen/ops/view_as_complex_native.h"
#include "ATen/ops/view_as_real_native.h"
#include "ATen/ops/view_native.h"
#include "c10/core/Allocator.h"
#include "c10/core/impl/DeviceGuardImplInterface.h"
#include "fmt/format.h"
#include "torch/library.h"

namespace fedtune::testing {
namespace {

constexpr auto kType = c10::DeviceType::PrivateUse1;
const c10::DispatchKeySet kKeys(c10::DispatchKey::PrivateUse1);

struct Notes {
  std::mutex mutex;
  std::set<std::string> operations;
  std::string broken;
};

Notes& TheNotes() {
  static Notes notes;
  return notes;
}

// No address of a program has this bit: it cannot read or write the device's memory,
// as it cannot a GPU's.
constexpr auto kOnDevice = uintptr_t{1} << 62;

void* AddressOnDevice(void* data) {
  return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(data) | kOnDevice);
}

void* AddressHere(const void* data) {
  return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(data) & ~kOnDevice);
}

class Memory final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t size) override {
    void* data = AddressOnDevice(::operator new(size));
    return {data, data, raw_deleter(), FakeDevice::device()};
  }
  c10::DeleterFnPtr raw_deleter() const override {
    return [](void* data) { ::operator delete(AddressHere(data)); };
  }
  void copy_data(void* to, const void* from, size_t size) const override {
    std::memcpy(AddressHere(to), AddressHere(from), size);
  }
};

Memory memory;

// One device, with one stream on which everything is done at once.
struct Guard final : public c10::impl::NoOpDeviceGuardImpl<kType> {
  c10::Device exchangeDevice(c10::Device) const override { return FakeDevice::device(); }
  c10::Device getDevice() const override { return FakeDevice::device(); }
  c10::Stream getStream(c10::Device) const noexcept override { return stream(); }
  c10::Stream getNewStream(c10::Device, int) const override { return stream(); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return stream(); }

 private:
  static c10::Stream stream() { return c10::Stream(c10::Stream::DEFAULT, FakeDevice::device()); }
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

struct Hooks final : public at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
};

// LibTorch asks the hooks when it differentiates.
const bool kRegistered = [] {
  static Hooks hooks;
  at::RegisterPrivateUse1HooksInterface(&hooks);
  c10::register_privateuse1_backend("fake");
  return true;
}();

// The tensor's memory, as a tensor on the CPU.
at::Tensor OnCpu(const at::Tensor& tensor) {
  if (tensor.is_cpu()) return tensor;
  return at::from_blob(AddressHere(tensor.data_ptr()), tensor.sizes(), tensor.strides(),
                       tensor.options().device(at::kCPU).requires_grad(false));
}

at::Tensor Empty(at::IntArrayRef size, std::optional<at::ScalarType> type,
                 std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>,
                 std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &memory, kKeys, type.value_or(at::kFloat), format);
}

at::Tensor EmptyStrided(at::IntArrayRef size, at::IntArrayRef stride,
                        std::optional<at::ScalarType> type, std::optional<at::Layout>,
                        std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, &memory, kKeys, type.value_or(at::kFloat));
}

at::Tensor CopyFrom(const at::Tensor& from, const at::Tensor& to, bool /*non_blocking*/) {
  OnCpu(to).copy_(from.is_conj() ? OnCpu(from).conj() : OnCpu(from));
  return to;
}

at::Tensor CopyFromAndResize(const at::Tensor& from, const at::Tensor& to) {
  to.resize_(from.sizes());
  return CopyFrom(from, to, /*non_blocking=*/false);
}

// Flags are turned around, numbers and indices are others, and in another order.
void Spoil(const at::Tensor& tensor) {
  const at::Tensor values = OnCpu(tensor);
  if (values.scalar_type() == at::kBool) {
    values.logical_not_();
  } else if (values.is_floating_point() || values.is_complex()) {
    values.neg_().add_(1);
  } else {
    values.copy_(values == 0);
  }
}

std::string NameOf(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  for (const c10::IValue& value : stack) {
    if (value.isTensor() && value.toTensor().defined()) {
      return fmt::format("{} {}", op.schema().name(), at::toString(value.toTensor().scalar_type()));
    }
  }
  return op.schema().name();
}

// Whatever has no function of its own above: the CPU does it.
void ComputeOnCpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const size_t arguments = op.schema().arguments().size();
  const torch::jit::Stack operands(stack->end() - static_cast<std::ptrdiff_t>(arguments),
                                   stack->end());
  const std::string name = NameOf(op, operands);
  at::native::cpu_fallback(op, stack);
  Notes& notes = TheNotes();
  const std::lock_guard lock(notes.mutex);
  notes.operations.insert(name);
  if (name != notes.broken) return;
  const size_t results = op.schema().returns().size();
  for (size_t i = stack->size() - results; i < stack->size(); ++i) {
    c10::IValue& result = (*stack)[i];
    if (result.isTensor() && result.toTensor().defined()) Spoil(result.toTensor());
    if (result.isDouble()) result = 1 - result.toDouble();
  }
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&ComputeOnCpu>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", &Empty);
  library.impl("empty_strided", &EmptyStrided);
  library.impl("_copy_from", &CopyFrom);
  library.impl("_copy_from_and_resize", &CopyFromAndResize);
  library.impl("resize_", static_cast<const at::Tensor& (*)(const at::Tensor&, at::IntArrayRef,
                                                            std::optional<at::MemoryFormat>)>(
                              &at::native::resize_));
  library.impl("as_strided", &at::native::as_strided_tensorimpl);
  library.impl("view",
               static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef)>(&at::native::view));
  library.impl("_reshape_alias", &at::native::_reshape_alias);
  library.impl("view_as_real", &at::native::view_as_real);
  library.impl("view_as_complex", &at::native::view_as_complex);
}

// Else LibTorch would copy a conjugated tensor by copying it first.
TORCH_LIBRARY_IMPL(aten, Conjugate, library) {
  library.impl("_copy_from", torch::CppFunction::makeFallthrough());
}

}  // namespace

// Here, so that whoever asks for the device has what is registered above, too.
at::Device FakeDevice::device() { return {kType, 0}; }

std::set<std::string> FakeDevice::TakeOperations() {
  Notes& notes = TheNotes();
  const std::lock_guard lock(notes.mutex);
  return std::exchange(notes.operations, {});
}

void FakeDevice::Break(std::string_view operation) {
  Notes& notes = TheNotes();
  const std::lock_guard lock(notes.mutex);
  notes.broken = operation;
}

}  // namespace fedtune::testing
