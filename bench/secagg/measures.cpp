// SPDX-License-Identifier: Apache-2.0

#include "bench/secagg/measures.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <numeric>
#include <span>
#include <thread>
#include <vector>

#include "base/check.h"
#include "bench/secagg/limits.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/secure_aggregation/mask_stream.h"
#include "privacy/secure_aggregation/shamir.h"

namespace fedtune::bench {
namespace {

constexpr int kShamirRuns = 50;

SecretBytes Secret(int number) {
  std::vector<uint8_t> bytes(32);
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<uint8_t>(number >> (8 * (i % 4)));
  return SecretBytes(std::move(bytes));
}

MaskStreams Masks(RingBits ring, int count) {
  MaskStreams masks(ring);
  for (int i = 0; i < count; ++i) {
    masks.Add(Secret(i), i % 2 == 0 ? MaskSign::kAdd : MaskSign::kSubtract);
  }
  return masks;
}

void ShareAndRebuild(const SecaggCase& size) {
  const SecretBytes secret = Secret(1);
  const std::vector<SecretBytes> shares =
      SplitSecret(secret, size.threshold, size.clients, Secret(2));
  std::vector<uint32_t> points(static_cast<size_t>(size.threshold));
  std::iota(points.begin(), points.end(), 1u);
  std::vector<const SecretBytes*> given;
  given.reserve(points.size());
  for (const uint32_t point : points) given.push_back(&shares[point - 1]);
  const auto combiner = SecretCombiner::Create(points);
  Check(combiner.ok(), "the points are good");
  const auto rebuilt = combiner->Combine(given);
  Check(rebuilt.ok() && *rebuilt == secret, "the shares give the secret");
}

}  // namespace

double MaskSeconds(const SecaggCase& size, RingBits ring, int masks) {
  const MaskStreams streams = Masks(ring, masks);
  std::vector<uint32_t> values(size.elements, 1);
  return MedianSeconds([&] {
    for (size_t at = 0; at < values.size(); at += kChunkElements) {
      const size_t chunk = std::min<size_t>(kChunkElements, values.size() - at);
      streams.Apply(static_cast<int64_t>(at), std::span(values).subspan(at, chunk));
    }
  });
}

double UnmaskSeconds(const SecaggCase& size) {
  const MaskStreams streams = Masks(RingBits::k32, size.masks_to_remove());
  std::vector<uint32_t> sum(size.elements, 1);
  return MedianSeconds([&] {
    std::atomic<size_t> next = 0;
    const auto work = [&] {
      for (size_t at = next.fetch_add(kChunkElements); at < sum.size();
           at = next.fetch_add(kChunkElements)) {
        const size_t chunk = std::min<size_t>(kChunkElements, sum.size() - at);
        streams.Apply(static_cast<int64_t>(at), std::span(sum).subspan(at, chunk));
      }
    };
    std::vector<std::jthread> threads;
    for (int i = 0; i < size.threads; ++i) threads.emplace_back(work);
  });
}

double ShamirSeconds(const SecaggCase& size) {
  return MedianSeconds([&] {
           for (int i = 0; i < kShamirRuns; ++i) ShareAndRebuild(size);
         }) /
         kShamirRuns;
}

size_t WireBytes(const SecaggCase& size, RingBits ring) {
  const std::vector<uint32_t> values(size.elements, 1);
  std::vector<uint8_t> packed(size.elements * BytesPerElement(ring));
  PackRing(ring, values, packed);
  return packed.size();
}

}  // namespace fedtune::bench
