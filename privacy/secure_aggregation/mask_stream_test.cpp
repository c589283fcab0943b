// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/mask_stream.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/hkdf.h"
#include "privacy/crypto/openssl_ptr.h"
#include "tests/support/hex.h"

namespace fedtune {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using testing::FromHex;

SecretBytes Key(uint8_t number) {
  std::vector<uint8_t> key(32);
  for (size_t i = 0; i < key.size(); ++i) key[i] = static_cast<uint8_t>(number * 37 + i * 11 + 1);
  return SecretBytes(std::move(key));
}

std::vector<uint32_t> RandomValues(RingBits bits, size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint32_t> values(count);
  for (uint32_t& value : values) value = static_cast<uint32_t>(random()) & RingMask(bits);
  return values;
}

// The mask as its definition says, by OpenSSL in one piece.
std::vector<uint32_t> ReferenceMask(RingBits bits, const SecretBytes& key, size_t count) {
  const size_t width = BytesPerElement(bits);
  std::vector<uint8_t> keystream(count * width);
  const std::vector<uint8_t> zeros(keystream.size());
  const std::vector<uint8_t> iv(16);
  const OpensslPtr<EVP_CIPHER_CTX> context(EVP_CIPHER_CTX_new());
  EVP_EncryptInit_ex(context.get(), EVP_aes_256_ctr(), nullptr, key.Reveal().data(), iv.data());
  int written = 0;
  EVP_EncryptUpdate(context.get(), keystream.data(), &written, zeros.data(),
                    static_cast<int>(zeros.size()));
  std::vector<uint32_t> mask(count);
  for (size_t i = 0; i < keystream.size(); ++i) {
    mask[i / width] |= uint32_t{keystream[i]} << (8 * (i % width));
  }
  return mask;
}

TEST(MaskStreamsTest, GivesTheKnownMask) {
  Digest session;
  std::iota(session.bytes.begin(), session.bytes.end(), uint8_t{0});
  const SecretBytes agreed(
      FromHex("99c2458fa98ceac5bd88316d97e7a14fa2b62bd04e92526704b835b15aef9a6c"));
  // The known answer takes the session id itself for the salt.
  CanonicalWriter info;
  info.Fixed(SpanOf("ffl/v1/mask")).U32(3).U32(7);
  const SecretBytes key = HkdfSha256(agreed.Reveal(), session.bytes, info.bytes(), 32);
  EXPECT_EQ(Bytes(key.Reveal().begin(), key.Reveal().end()),
            FromHex("378d9027b63b1f34119495a09cb5ad2fd23a85826be2f668a8fd48143c38fa53"));
  for (const MaskKernel kernel : AvailableMaskKernels()) {
    MaskStreams masks(RingBits::k32, kernel);
    masks.Add(key, MaskSign::kAdd);
    std::vector<uint32_t> values(8);
    masks.Apply(0, values);
    EXPECT_THAT(values, ElementsAre(2509322402u, 1132358958u, 3377959241u, 1208621614u, 3454487065u,
                                    240728444u, 939114002u, 3043744206u))
        << NameOf(kernel);
  }
}

class EveryKernelAndRing : public ::testing::TestWithParam<std::tuple<MaskKernel, RingBits>> {
 protected:
  MaskKernel kernel() const { return std::get<0>(GetParam()); }
  RingBits bits() const { return std::get<1>(GetParam()); }

  // One with each other client of a cohort: those of later ones are added.
  MaskStreams MasksOf(int client, int clients) const {
    MaskStreams masks(bits(), kernel());
    for (int other = 0; other < clients; ++other) {
      if (other == client) continue;
      const int pair = std::min(client, other) * clients + std::max(client, other);
      masks.Add(Key(static_cast<uint8_t>(pair)),
                client < other ? MaskSign::kAdd : MaskSign::kSubtract);
    }
    return masks;
  }
};

TEST_P(EveryKernelAndRing, AgreesWithOpensslAtEveryLength) {
  const SecretBytes added = Key(1);
  const SecretBytes subtracted = Key(2);
  const std::vector<uint32_t> first = ReferenceMask(bits(), added, 10'000);
  const std::vector<uint32_t> second = ReferenceMask(bits(), subtracted, 10'000);
  MaskStreams masks(bits(), kernel());
  masks.Add(added, MaskSign::kAdd);
  masks.Add(subtracted, MaskSign::kSubtract);
  for (const size_t count :
       {0, 1, 2, 15, 16, 17, 255, 256, 257, 511, 513, 1000, 4095, 4096, 4097, 8191, 9999, 10'000}) {
    const std::vector<uint32_t> before = RandomValues(bits(), count, 3);
    std::vector<uint32_t> values = before;
    masks.Apply(0, values);
    for (size_t i = 0; i < count; ++i) {
      ASSERT_EQ(values[i], (before[i] + first[i] - second[i]) & RingMask(bits()))
          << i << " of " << count;
    }
  }
}

TEST_P(EveryKernelAndRing, AnySliceIsThatOfTheWhole) {
  constexpr size_t kCount = 20'000;
  const std::vector<uint32_t> whole = ReferenceMask(bits(), Key(7), kCount);
  MaskStreams masks(bits(), kernel());
  masks.Add(Key(7), MaskSign::kAdd);
  std::mt19937 random(5);
  for (int trial = 0; trial < 200; ++trial) {
    const size_t first = random() % (kCount / 16) * 16;
    const size_t count = random() % (kCount - first) % 5000;
    // One element before, so that the values stand at odd addresses, too.
    std::vector<uint32_t> values(count + 1);
    masks.Apply(static_cast<int64_t>(first), std::span(values).subspan(1));
    ASSERT_EQ(values[0], 0u);
    for (size_t i = 0; i < count; ++i) ASSERT_EQ(values[i + 1], whole[first + i]) << first << i;
  }
}

TEST_P(EveryKernelAndRing, AChunkIsThatOfTheWhole) {
  MaskStreams masks(bits(), kernel());
  masks.Add(Key(9), MaskSign::kSubtract);
  std::vector<uint32_t> whole(2 * kChunkElements + 777);
  masks.Apply(0, whole);
  for (int64_t at = 0; at < std::ssize(whole); at += kChunkElements) {
    const auto size = std::min<int64_t>(kChunkElements, std::ssize(whole) - at);
    std::vector<uint32_t> chunk(static_cast<size_t>(size));
    masks.Apply(at, chunk);
    EXPECT_TRUE(std::equal(chunk.begin(), chunk.end(), whole.begin() + at)) << at;
  }
}

// Beyond 2^32 blocks and bytes.
// What begins a cache line and has whole granules needs no copy.
TEST_P(EveryKernelAndRing, WhereTheValuesLieChangesNothing) {
  MaskStreams masks(bits(), kernel());
  masks.Add(Key(1), MaskSign::kAdd);
  masks.Add(Key(2), MaskSign::kSubtract);
  struct alignas(64) Line {
    std::array<uint32_t, 16> values;
  };
  constexpr size_t kMost = 3 * 4096;
  std::vector<Line> lines(kMost / 16 + 1);
  uint32_t* const start = lines.front().values.data();
  for (const size_t count : {size_t{256}, size_t{4096}, size_t{4352}, kMost}) {
    const std::vector<uint32_t> before = RandomValues(bits(), count, 3);
    const std::span aligned(start, count);
    std::copy(before.begin(), before.end(), aligned.begin());
    masks.Apply(512, aligned);
    const std::vector<uint32_t> in_place(aligned.begin(), aligned.end());
    const std::span shifted(start + 1, count);
    std::copy(before.begin(), before.end(), shifted.begin());
    masks.Apply(512, shifted);
    EXPECT_TRUE(std::equal(shifted.begin(), shifted.end(), in_place.begin())) << count;
    EXPECT_NE(in_place, before);
  }
}

TEST_P(EveryKernelAndRing, AgreesWithOpensslFarFromTheStart) {
  for (const int64_t first : {(int64_t{1} << 34) - 512, (int64_t{1} << 40) + 16}) {
    std::vector<uint32_t> ours(1024);
    std::vector<uint32_t> reference(1024);
    MaskStreams masks(bits(), kernel());
    masks.Add(Key(4), MaskSign::kAdd);
    masks.Apply(first, ours);
    MaskStreams by_openssl(bits(), MaskKernel::kOpenssl);
    by_openssl.Add(Key(4), MaskSign::kAdd);
    by_openssl.Apply(first, reference);
    EXPECT_EQ(ours, reference);
  }
}

// A client adds the masks it shares with later clients and subtracts the others.
TEST_P(EveryKernelAndRing, TheMasksOfACohortCancel) {
  std::mt19937 random(17);
  for (int trial = 0; trial < 5; ++trial) {
    const int clients = 3 + static_cast<int>(random() % 8);
    const size_t count = 1 + random() % 3000;
    std::vector<uint32_t> sum(count);
    std::vector<uint32_t> expected(count);
    for (int client = 0; client < clients; ++client) {
      std::vector<uint32_t> values = RandomValues(bits(), count, static_cast<uint32_t>(random()));
      for (size_t i = 0; i < count; ++i) expected[i] += values[i];
      MasksOf(client, clients).Apply(0, values);
      for (size_t i = 0; i < count; ++i) sum[i] = (sum[i] + values[i]) & RingMask(bits());
    }
    for (uint32_t& value : expected) value &= RingMask(bits());
    EXPECT_EQ(sum, expected) << clients << " clients, " << count << " values";
  }
}

void ApplyOnThreads(const MaskStreams& masks, std::span<uint32_t> sum) {
  constexpr size_t kPiece = 50'000;
  std::vector<std::jthread> threads;
  for (size_t at = 0; at < sum.size(); at += kPiece) {
    threads.emplace_back([&masks, at, piece = sum.subspan(at, std::min(kPiece, sum.size() - at))] {
      masks.Apply(static_cast<int64_t>(at), piece);
    });
  }
}

TEST_P(EveryKernelAndRing, SeveralThreadsRemoveWhatOneApplied) {
  MaskStreams masks(bits(), kernel());
  for (uint8_t i = 0; i < 3; ++i) masks.Add(Key(i), MaskSign::kAdd);
  MaskStreams opposite(bits(), kernel());
  for (uint8_t i = 0; i < 3; ++i) opposite.Add(Key(i), MaskSign::kSubtract);
  std::vector<uint32_t> sum(200'003);
  masks.Apply(0, sum);
  ApplyOnThreads(opposite, sum);
  EXPECT_THAT(sum, Each(0u));
}

std::string CaseName(const ::testing::TestParamInfo<EveryKernelAndRing::ParamType>& info) {
  std::string name(NameOf(std::get<0>(info.param)));
  std::erase(name, '-');
  return name + std::to_string(static_cast<int>(std::get<1>(info.param)));
}

INSTANTIATE_TEST_SUITE_P(MaskStreamsTest, EveryKernelAndRing,
                         ::testing::Combine(::testing::ValuesIn(AvailableMaskKernels()),
                                            ::testing::Values(RingBits::k16, RingBits::k24,
                                                              RingBits::k32)),
                         CaseName);

TEST(MaskKernelsTest, TheBestIsAvailable) {
  EXPECT_THAT(AvailableMaskKernels(), ::testing::Contains(BestMaskKernel()));
  EXPECT_THAT(AvailableMaskKernels(), ::testing::Contains(MaskKernel::kOpenssl));
}

TEST(MaskStreamsDeathTest, RefusesABrokenStart) {
  const MaskStreams masks(RingBits::k32);
  std::vector<uint32_t> values(4);
  EXPECT_DEATH(masks.Apply(8, values), "masks start where blocks do");
}

TEST(MaskStreamsDeathTest, RefusesAShortKey) {
  MaskStreams masks(RingBits::k32);
  EXPECT_DEATH(masks.Add(SecretBytes(std::vector<uint8_t>(16)), MaskSign::kAdd), "32 bytes");
}

}  // namespace
}  // namespace fedtune
