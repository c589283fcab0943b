// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/mask_stream.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>

#include "base/check.h"

namespace fedtune {
namespace {

constexpr size_t kBlockBytes = 16;
constexpr int64_t kAlignment = 16;  // So many elements are whole blocks in every ring.

// All masks pass over so much of the vector before the next is touched: it
// stays in the innermost cache.
constexpr size_t kPassElements = 4096;
static_assert(kPassElements % kMaskGranule == 0);

// What a thread takes at a time.
constexpr size_t kTaskElements = 16 * kPassElements;

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
  Check(first >= 0 && first % kAlignment == 0, "masks start at a multiple of 16");
  const size_t whole = values.size() / kMaskGranule * kMaskGranule;
  for (size_t done = 0; done < whole; done += kPassElements) {
    const std::span<uint32_t> pass = values.subspan(done, std::min(kPassElements, whole - done));
    for (const Stream& stream : streams_) {
      ApplyGranules(stream, first + static_cast<int64_t>(done), pass);
    }
  }
  if (whole == values.size()) return;
  std::array<uint32_t, kMaskGranule> rest{};
  const std::span<uint32_t> tail = values.subspan(whole);
  std::copy(tail.begin(), tail.end(), rest.begin());
  for (const Stream& stream : streams_) {
    ApplyGranules(stream, first + static_cast<int64_t>(whole), rest);
  }
  std::copy_n(rest.begin(), tail.size(), tail.begin());
  OPENSSL_cleanse(rest.data(), sizeof rest);  // Beyond the tail it holds bare masks.
}

void MaskStreams::ApplyGranules(const Stream& stream, int64_t first,
                                std::span<uint32_t> values) const {
  const uint64_t block = static_cast<uint64_t>(first) * BytesPerElement(ring_) / kBlockBytes;
  const auto apply = ring_ == RingBits::k16   ? functions_->apply16
                     : ring_ == RingBits::k24 ? functions_->apply24
                                              : functions_->apply32;
  apply(stream.schedule(), stream.sign(), block, values.data(), values.size());
}

void RemoveMasks(const MaskStreams& masks, std::span<uint32_t> sum, int threads) {
  Check(threads >= 1, "someone has to do it");
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t at = next.fetch_add(kTaskElements); at < sum.size();
         at = next.fetch_add(kTaskElements)) {
      masks.Apply(static_cast<int64_t>(at),
                  sum.subspan(at, std::min(kTaskElements, sum.size() - at)));
    }
  };
  std::vector<std::jthread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back(work);
  work();
}

}  // namespace fedtune
