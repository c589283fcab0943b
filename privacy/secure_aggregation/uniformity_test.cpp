// SPDX-License-Identifier: Apache-2.0

// What the coordinator holds while a round is open looks like noise: whatever the
// inputs are, and whichever of them it adds up.

#include <array>
#include <map>

#include "gtest/gtest.h"
#include "tests/support/secure_round.h"

namespace fedtune {
namespace {

using testing::SecureClient;
using testing::SecureRound;

constexpr int kClients = 5;
constexpr int64_t kElements = 200'000;

// Pearson's statistic over the values of the bytes on the wire: 255 degrees of
// freedom, so that 377 is exceeded once in a million times.
double ChiSquare(RingBits ring, const std::vector<uint32_t>& values) {
  std::vector<uint8_t> packed(values.size() * BytesPerElement(ring));
  PackRing(ring, values, packed);
  std::array<double, 256> counts = {};
  for (const uint8_t byte : packed) ++counts[byte];
  const double expected = static_cast<double>(packed.size()) / 256;
  double sum = 0;
  for (const double count : counts) sum += (count - expected) * (count - expected) / expected;
  return sum;
}
constexpr double kOnceInAMillion = 377;

class UniformityTest : public ::testing::TestWithParam<RingBits> {
 protected:
  UniformityTest()
      : round_({.clients = kClients, .elements = kElements, .ring = GetParam()}),
        coordinator_(round_.Coordinator()) {
    for (uint32_t number = 1; number <= kClients; ++number) {
      clients_.emplace(number, SecureClient(round_, number));
      EXPECT_TRUE(coordinator_.Receive(number, *clients_.at(number).Advertise()).ok());
    }
    EXPECT_TRUE(coordinator_.Advance(false));
    for (auto& [number, client] : clients_) {
      EXPECT_TRUE(
          coordinator_.Receive(number, *client.Receive(coordinator_.MessageFor(number))).ok());
    }
    EXPECT_TRUE(coordinator_.Advance(false));
  }

  // A client's masked vector of zeros: the worst there is to hide.
  std::vector<uint32_t> MaskedZeros(uint32_t number) {
    ClientSession& session = clients_.at(number).session();
    EXPECT_TRUE(session.Receive(coordinator_.MessageFor(number)).ok());
    std::vector<uint32_t> zeros(kElements);
    EXPECT_TRUE(session.FixInput(SecureClient::DigestOf(zeros)).ok());
    session.Masks()->Apply(0, zeros);
    return zeros;
  }

  SecureRound round_;
  CoordinatorSession coordinator_;
  std::map<uint32_t, SecureClient> clients_;
};

TEST_P(UniformityTest, EveryMaskedVectorAndEveryPartialSumIsUniform) {
  std::vector<uint32_t> sum(kElements);
  for (uint32_t number = 1; number <= kClients; ++number) {
    const std::vector<uint32_t> masked = MaskedZeros(number);
    EXPECT_LT(ChiSquare(GetParam(), masked), kOnceInAMillion) << number;
    round_.Add(masked, sum);
    // Of all of them, too: the self-masks are still on.
    EXPECT_LT(ChiSquare(GetParam(), sum), kOnceInAMillion) << number;
  }
}

TEST_P(UniformityTest, TheSameInputInAnotherAttemptSharesNothing) {
  const std::vector<uint32_t> first = MaskedZeros(1);
  SecureRound again({.clients = kClients, .elements = kElements, .ring = GetParam()});
  again.parameters().attempt = 2;
  EXPECT_NE(SessionId(again.parameters()), SessionId(round_.parameters()));
  std::vector<uint32_t> difference = first;
  MaskStreams other(GetParam());
  other.Add(SelfMaskKey(SessionId(again.parameters()),
                        RoundSecrets(testing::SecretOf(1), SessionId(again.parameters()),
                                     CipherSuite::kCurve25519)
                            .self_mask_seed()),
            MaskSign::kSubtract);
  other.Apply(0, difference);
  EXPECT_LT(ChiSquare(GetParam(), difference), kOnceInAMillion);
}

TEST(ChiSquareTest, NoticesWhatIsNotUniform) {
  std::vector<uint32_t> values(kElements);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint32_t>(i);
  EXPECT_GT(ChiSquare(RingBits::k32, values), kOnceInAMillion);
}

INSTANTIATE_TEST_SUITE_P(Rings, UniformityTest,
                         ::testing::Values(RingBits::k16, RingBits::k24, RingBits::k32));

}  // namespace
}  // namespace fedtune
