// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/mask_stream.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <array>

#include "base/check.h"

namespace fedtune {
namespace {

constexpr size_t kBlockBytes = 16;

// All masks pass over so much of the vector before the next is touched: it
// stays in the innermost cache.
constexpr size_t kPassElements = 4096;
static_assert(kPassElements % kMaskGranule == 0);

constexpr size_t WholeGranules(size_t elements) {
  return (elements + kMaskGranule - 1) / kMaskGranule * kMaskGranule;
}

// Registers that straddle cache lines halve the rate.
bool AreAligned(std::span<const uint32_t> values) {
  return reinterpret_cast<uintptr_t>(values.data()) % 64 == 0 && values.size() % kMaskGranule == 0;
}

}  // namespace

MaskStreams::Stream::Stream(const MaskKernelFunctions& functions, const SecretBytes& key,
                            MaskSign sign)
    : sign_(sign) {
  Check(key.size() == 32, "a mask's key has 32 bytes");
  functions.expand(key.Reveal().data(), &schedule_);
}

MaskStreams::Stream::~Stream() { OPENSSL_cleanse(&schedule_, sizeof schedule_); }

MaskStreams::MaskStreams(RingBits ring, MaskKernel kernel)
    : ring_(ring), functions_(&FunctionsOf(kernel)) {}

void MaskStreams::Add(const SecretBytes& key, MaskSign sign) {
  streams_.emplace_back(*functions_, key, sign);
}

void MaskStreams::Apply(int64_t first, std::span<uint32_t> values) const {
  Check(first >= 0 && first % kAlignment == 0, "masks start where blocks do");
  switch (ring_) {
    case RingBits::k16:
      return ApplyWith(functions_->apply16, first, values);
    case RingBits::k24:
      return ApplyWith(functions_->apply24, first, values);
    case RingBits::k32:
      return AreAligned(values) ? ApplyInPlace(first, values)
                                : ApplyWith(functions_->apply32, first, values);
  }
}

void MaskStreams::ApplyInPlace(int64_t first, std::span<uint32_t> values) const {
  for (size_t done = 0; done < values.size(); done += kPassElements) {
    const std::span<uint32_t> part =
        values.subspan(done, std::min(kPassElements, values.size() - done));
    const uint64_t block = (static_cast<uint64_t>(first) + done) * sizeof(uint32_t) / kBlockBytes;
    for (const Stream& stream : streams_) {
      functions_->apply32(stream.schedule(), stream.sign(), block, part.data(), part.size());
    }
  }
}

// Masks are applied to a copy, aligned, packed and of whole granules, which
// `values` need not be.
template <typename Value>
void MaskStreams::ApplyWith(MaskKernelFunctions::Apply<Value> apply, int64_t first,
                            std::span<uint32_t> values) const {
  alignas(64) std::array<Value, kPassElements> pass;
  const auto as_value = [](uint32_t value) { return static_cast<Value>(value); };
  for (size_t done = 0; done < values.size(); done += kPassElements) {
    const std::span<uint32_t> part =
        values.subspan(done, std::min(kPassElements, values.size() - done));
    const size_t whole = WholeGranules(part.size());
    std::fill(std::transform(part.begin(), part.end(), pass.begin(), as_value),
              pass.begin() + whole, Value{0});
    const uint64_t block =
        (static_cast<uint64_t>(first) + done) * BytesPerElement(ring_) / kBlockBytes;
    for (const Stream& stream : streams_) {
      apply(stream.schedule(), stream.sign(), block, pass.data(), whole);
    }
    std::transform(pass.begin(), pass.begin() + part.size(), part.begin(),
                   [mask = RingMask(ring_)](Value value) { return value & mask; });
  }
  // Behind the last part stand bare masks.
  OPENSSL_cleanse(pass.data(), WholeGranules(std::min(values.size(), pass.size())) * sizeof(Value));
}

}  // namespace fedtune
