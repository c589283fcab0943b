// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/ecdsa_encoding.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/canonical_bytes.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::ElementsAreArray;
using testing::HasCode;

// r is 1, and s begins with its highest bit.
Bytes Numbers() {
  Bytes numbers(kP256SignatureSize);
  numbers[31] = 1;
  numbers[32] = 0x80;
  return numbers;
}

// SEQUENCE of INTEGER 1 and an INTEGER of 33 bytes, whose first says that it is not negative.
Bytes Der() {
  Bytes der = {0x30, 0x26, 0x02, 0x01, 0x01, 0x02, 0x21, 0x00, 0x80};
  der.resize(40);
  return der;
}

TEST(EcdsaEncodingTest, WritesNumbersAsShortAsTheyAre) {
  EXPECT_THAT(EcdsaToDer(Numbers()), ElementsAreArray(Der()));
}

TEST(EcdsaEncodingTest, ReadsWhatItWrites) {
  EXPECT_THAT(EcdsaFromDer(Der()).value(), ElementsAreArray(Numbers()));
}

TEST(EcdsaEncodingTest, RefusesEveryOtherEncoding) {
  const auto refused = HasCode(absl::StatusCode::kInvalidArgument);
  const Bytes der = Der();
  EXPECT_THAT(EcdsaFromDer({}), refused);
  EXPECT_THAT(EcdsaFromDer(Numbers()), refused);
  EXPECT_THAT(EcdsaFromDer(std::span(der).first(der.size() - 1)), refused);
  Bytes with_more = der;
  with_more.push_back(0);
  EXPECT_THAT(EcdsaFromDer(with_more), refused);
  const Bytes negative = {0x30, 0x06, 0x02, 0x01, 0x81, 0x02, 0x01, 0x01};
  EXPECT_THAT(EcdsaFromDer(negative), refused);
  const Bytes padded = {0x30, 0x07, 0x02, 0x02, 0x00, 0x01, 0x02, 0x01, 0x01};
  EXPECT_THAT(EcdsaFromDer(padded), refused);
  Bytes too_large = {0x30, 0x26, 0x02, 0x01, 0x01, 0x02, 0x21, 0x01};
  too_large.resize(40);
  EXPECT_THAT(EcdsaFromDer(too_large), refused);
}

}  // namespace
}  // namespace fedtune
