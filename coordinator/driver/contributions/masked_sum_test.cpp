// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/contributions/masked_sum.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/secure_aggregation/messages.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;

// The largest are files of their own in every ring, the others lie together.
constexpr int64_t kLarge = 2'200'003, kSmall = 10'007;

class MaskedSumTest : public ::testing::TestWithParam<RingBits> {
 protected:
  static RingBits ring() { return GetParam(); }

  std::vector<uint32_t> RandomElements(int64_t count) {
    std::vector<uint32_t> elements(static_cast<size_t>(count));
    for (uint32_t& element : elements) {
      element = static_cast<uint32_t>(random_()) & RingMask(ring());
    }
    return elements;
  }

  static std::string Packed(std::span<const uint32_t> elements) {
    std::string packed(elements.size() * BytesPerElement(ring()), '\0');
    PackRing(ring(), elements, {reinterpret_cast<uint8_t*>(packed.data()), packed.size()});
    return packed;
  }

  static Digest RootOf(const std::string& packed) {
    ChunkRoot root(ring());
    root.Update(packed);
    return root.Finish();
  }

  // What came in odd pieces and is kept.
  std::shared_ptr<MaskedElements> Kept(const std::string& packed) {
    auto input = MaskedInput::Create(ring(), *SpooledBytes::Create(pack_, packed.size()));
    EXPECT_THAT(input, IsOk());
    constexpr size_t kPiece = 99'991;
    for (size_t at = 0; at < packed.size(); at += kPiece) {
      EXPECT_THAT(input->Append(at, std::string_view(packed).substr(at, kPiece)), IsOk());
    }
    auto elements = (*std::move(input)).Finish(RootOf(packed));
    EXPECT_THAT(elements, IsOk());
    SpooledBytes* bytes = &(*elements)->bytes();
    EXPECT_THAT(bytes->is_small() ? SpooledBytes::KeepTogether(pack_, {&bytes, 1}) : bytes->Keep(),
                IsOk());
    return *std::move(elements);
  }

  static ContributionHeader HeaderOf(const std::string& packed) {
    ContributionHeader header;
    header.size_bytes = packed.size();
    header.input_manifest =
        Encode(InputManifest{.chunk_root = RootOf(packed), .signature = Bytes(kSignatureSize)});
    return header;
  }

  MaskedSum NewSum(int64_t count) const {
    return {*MaskedLayout::Create({.ring = ring(), .max_cohort = 3}, count, {}), absl::UnixEpoch()};
  }

  static std::shared_ptr<const MaskStreams> Masks(int count) {
    auto masks = std::make_shared<MaskStreams>(ring());
    for (int i = 0; i < count; ++i) {
      masks->Add(SecretBytes(Bytes(32, static_cast<uint8_t>(i + 1))),
                 i % 2 == 0 ? MaskSign::kAdd : MaskSign::kSubtract);
    }
    return masks;
  }

  void Damage(MaskedElements& elements, int64_t place) const {
    std::fstream file(directory_.path() / elements.bytes().name());
    file.seekg(place);
    const int byte = file.get();
    file.seekp(place).put(static_cast<char>(byte ^ 16));
  }

  const testing::TemporaryDirectory directory_;
  const Spool spool_ = *Spool::Open(directory_.path());
  SpoolPack pack_{spool_, "run-1"};
  Spool::OpenFiles open_;  // Of another process.
  std::mt19937_64 random_{7};
};

TEST_P(MaskedSumTest, IsThatOfItsInputsWithoutTheMasksInWhateverPiecesItIsRead) {
  for (const int64_t count : {kSmall, kLarge}) {
    MaskedSum sum = NewSum(count);
    std::vector<uint32_t> expected(static_cast<size_t>(count));
    for (int i = 0; i < 3; ++i) {
      const std::vector<uint32_t> elements = RandomElements(count);
      for (size_t k = 0; k < expected.size(); ++k) expected[k] += elements[k];
      sum.Add(Kept(Packed(elements)), {});
    }
    for (uint32_t& element : expected) element &= RingMask(ring());
    Masks(2)->Apply(0, expected);
    const auto unmasked = sum.Unmasked(Masks(2));
    ASSERT_EQ(unmasked->element_count(), count);
    std::vector<uint32_t> read(expected.size());
    constexpr size_t kPiece = 23'457;
    for (size_t at = 0; at < read.size(); at += kPiece) {
      ASSERT_THAT(unmasked->Read(static_cast<int64_t>(at),
                                 std::span(read).subspan(at, std::min(kPiece, read.size() - at))),
                  IsOk());
    }
    EXPECT_TRUE(read == expected);
  }
}

TEST_P(MaskedSumTest, NoticesAnInputThatIsNotWhatCame) {
  const std::shared_ptr<MaskedElements> damaged = Kept(Packed(RandomElements(kLarge)));
  MaskedSum sum = NewSum(kLarge);
  sum.Add(Kept(Packed(RandomElements(kLarge))), {});
  sum.Add(damaged, {});
  EXPECT_THAT(damaged->Check(), IsOk());
  Damage(*damaged, 70'000);
  EXPECT_THAT(damaged->Check(), HasCode(absl::StatusCode::kDataLoss));
  std::vector<uint32_t> some(1'000);
  EXPECT_THAT(sum.Unmasked(Masks(1))->Read(0, some), IsOk());
  const auto place = static_cast<int64_t>(70'000 / BytesPerElement(ring()));
  EXPECT_THAT(sum.Unmasked(Masks(1))->Read(place, some), HasCode(absl::StatusCode::kDataLoss));
}

TEST_P(MaskedSumTest, AnInputComesBackInAnotherProcess) {
  for (const int64_t count : {kSmall, kLarge}) {
    const std::vector<uint32_t> elements = RandomElements(count);
    const std::string packed = Packed(elements);
    const std::shared_ptr<MaskedElements> kept = Kept(packed);
    EXPECT_EQ(kept->content().has_value(), count == kLarge);
    for (const auto& content : {kept->content(), std::optional<SpooledContent>()}) {
      const auto restored = MaskedInput::Restore(HeaderOf(packed), ring(), spool_,
                                                 kept->bytes().name(), content, open_);
      ASSERT_THAT(restored, IsOk()) << restored.status();
      std::vector<uint32_t> read(elements.size());
      ASSERT_THAT((*restored)->AddTo(0, read), IsOk());
      EXPECT_TRUE(read == elements);
    }
  }
}

TEST_P(MaskedSumTest, ADamagedInputIsNoticedWhenItComesBackOrIsChecked) {
  const std::string packed = Packed(RandomElements(kLarge));
  const std::shared_ptr<MaskedElements> kept = Kept(packed);
  Damage(*kept, 3'000'000);
  const ContributionHeader header = HeaderOf(packed);
  const std::string name = kept->bytes().name();
  const auto restored = MaskedInput::Restore(header, ring(), spool_, name, kept->content(), open_);
  ASSERT_THAT(restored, IsOk());
  EXPECT_THAT((*restored)->Check(), HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(MaskedInput::Restore(header, ring(), spool_, name, std::nullopt, open_),
              HasCode(absl::StatusCode::kDataLoss));
}

INSTANTIATE_TEST_SUITE_P(EveryRing, MaskedSumTest,
                         ::testing::Values(RingBits::k16, RingBits::k24, RingBits::k32));

}  // namespace
}  // namespace fedtune
