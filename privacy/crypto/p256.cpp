// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/p256.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <array>
#include <utility>

#include "base/check.h"
#include "privacy/crypto/key_agreement.h"
#include "privacy/crypto/openssl_error.h"

namespace fedtune {
namespace {

constexpr int kCoordinateSize = 32;

// SP 800-186, section 3.2.1.3.
constexpr std::array<uint8_t, kP256PublicKeySize> kGenerator = {
    0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5,
    0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4,
    0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a,
    0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33,
    0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5};
constexpr std::array<uint8_t, 32> kOrderLessOne = {
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x50};

// Null: these parameters make no key.
OpensslPtr<EVP_PKEY> FromParameters(OSSL_PARAM_BLD* builder, int selection) {
  const OpensslPtr<OSSL_PARAM> parameters(OSSL_PARAM_BLD_to_param(builder));
  const OpensslPtr<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  Check(parameters != nullptr && context != nullptr && EVP_PKEY_fromdata_init(context.get()) == 1,
        "OpenSSL offers P-256 keys");
  EVP_PKEY* key = nullptr;
  if (EVP_PKEY_fromdata(context.get(), &key, selection, parameters.get()) != 1) return nullptr;
  return OpensslPtr<EVP_PKEY>(key);
}

// `point`: the public key, compressed or not; none if it is empty.
OpensslPtr<OSSL_PARAM_BLD> Builder(std::span<const uint8_t> point) {
  OpensslPtr<OSSL_PARAM_BLD> builder(OSSL_PARAM_BLD_new());
  Check(
      builder != nullptr &&
          OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) ==
              1 &&
          (point.empty() || OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY,
                                                             point.data(), point.size()) == 1),
      "OpenSSL takes a key's parameters");
  return builder;
}

OpensslPtr<BIGNUM> SecretNumber(const SecretBytes& secret) {
  OpensslPtr<BIGNUM> number(BN_secure_new());
  const std::span<const uint8_t> bytes = secret.Reveal();
  Check(number != nullptr &&
            BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), number.get()) != nullptr,
        "OpenSSL makes numbers");
  BN_set_flags(number.get(), BN_FLG_CONSTTIME);
  return number;
}

// Null: the two do not belong together, or the scalar is out of range.
OpensslPtr<EVP_PKEY> PairOf(const BIGNUM* scalar, std::span<const uint8_t> point) {
  const OpensslPtr<OSSL_PARAM_BLD> builder = Builder(point);
  Check(OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_PRIV_KEY, scalar) == 1,
        "OpenSSL takes a private key");
  OpensslPtr<EVP_PKEY> key = FromParameters(builder.get(), EVP_PKEY_KEYPAIR);
  if (key == nullptr) return nullptr;
  const OpensslPtr<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_pkey(nullptr, key.get(), nullptr));
  Check(context != nullptr, "OpenSSL checks keys");
  if (EVP_PKEY_pairwise_check(context.get()) != 1) return nullptr;
  return key;
}

// The x of the public key: what the key agrees on with the generator.
SecretBytes PublicX(const BIGNUM* scalar) {
  const OpensslPtr<OSSL_PARAM_BLD> builder = Builder({});
  Check(OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_PRIV_KEY, scalar) == 1,
        "OpenSSL takes a private key");
  const OpensslPtr<EVP_PKEY> key = FromParameters(builder.get(), EVP_PKEY_KEYPAIR);
  const absl::StatusOr<OpensslPtr<EVP_PKEY>> generator = P256PublicKey(kGenerator);
  Check(key != nullptr && generator.ok(), "OpenSSL makes P-256 keys");
  absl::StatusOr<SecretBytes> x = DeriveShared(key.get(), generator->get());
  Check(x.ok(), "the scalar of a P-256 key is in [1, n - 1]");
  return *std::move(x);
}

// A private scalar's key. EVP has no call that makes the public key: of the two
// points with its x, the one is taken that OpenSSL finds to be the scalar's.
OpensslPtr<EVP_PKEY> KeyOf(const BIGNUM* scalar) {
  const SecretBytes x = PublicX(scalar);
  std::vector<uint8_t> compressed = {0};
  compressed.insert(compressed.end(), x.Reveal().begin(), x.Reveal().end());
  OpensslPtr<EVP_PKEY> key;
  for (const uint8_t form : {2, 3}) {  // y even, y odd.
    compressed[0] = form;
    if (key == nullptr) key = PairOf(scalar, compressed);
  }
  ERR_clear_error();
  Check(key != nullptr, "the scalar of a P-256 key is in [1, n - 1]");
  return key;
}

}  // namespace

OpensslPtr<EVP_PKEY> P256KeyFromStretched(const SecretBytes& stretched) {
  const OpensslPtr<BN_CTX> context(BN_CTX_secure_new());
  const OpensslPtr<BIGNUM> scalar = SecretNumber(stretched);
  const OpensslPtr<BIGNUM> modulus(
      BN_bin2bn(kOrderLessOne.data(), static_cast<int>(kOrderLessOne.size()), nullptr));
  Check(context != nullptr && modulus != nullptr &&
            BN_mod(scalar.get(), scalar.get(), modulus.get(), context.get()) == 1 &&
            BN_add_word(scalar.get(), 1) == 1,
        "OpenSSL reduces numbers");
  return KeyOf(scalar.get());
}

OpensslPtr<EVP_PKEY> P256KeyFromScalar(const SecretBytes& scalar) {
  return KeyOf(SecretNumber(scalar).get());
}

absl::StatusOr<OpensslPtr<EVP_PKEY>> P256PublicKey(std::span<const uint8_t> point) {
  if (point.size() != kP256PublicKeySize || point[0] != POINT_CONVERSION_UNCOMPRESSED) {
    return absl::InvalidArgumentError("this is no P-256 public key of 65 bytes");
  }
  OpensslPtr<EVP_PKEY> key = FromParameters(Builder(point).get(), EVP_PKEY_PUBLIC_KEY);
  if (key != nullptr) {
    const OpensslPtr<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_pkey(nullptr, key.get(), nullptr));
    if (context != nullptr && EVP_PKEY_public_check(context.get()) == 1) return key;
  }
  TakeOpensslError();
  return absl::InvalidArgumentError("this public key is no point of P-256");
}

absl::Status CheckP256Pair(EVP_PKEY* key) {
  const OpensslPtr<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr));
  Check(context != nullptr, "OpenSSL checks keys");
  if (EVP_PKEY_check(context.get()) == 1) return absl::OkStatus();
  TakeOpensslError();
  return absl::InvalidArgumentError(
      "the numbers in this private key are not those of a P-256 key; the file is damaged: use "
      "a copy, or make a new key");
}

std::vector<uint8_t> P256Point(const EVP_PKEY* key) {
  // By its coordinates: a key may have been read in compressed form, and would be
  // given in it.
  BIGNUM* x = nullptr;
  BIGNUM* y = nullptr;
  const bool is_point = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_X, &x) == 1 &&
                        EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_Y, &y) == 1;
  const OpensslPtr<BIGNUM> owned_x(x);
  const OpensslPtr<BIGNUM> owned_y(y);
  std::vector<uint8_t> point(kP256PublicKeySize);
  point[0] = POINT_CONVERSION_UNCOMPRESSED;
  Check(is_point && BN_bn2binpad(x, point.data() + 1, kCoordinateSize) == kCoordinateSize &&
            BN_bn2binpad(y, point.data() + 1 + kCoordinateSize, kCoordinateSize) == kCoordinateSize,
        "a P-256 public key is a point");
  return point;
}

}  // namespace fedtune
