// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/p256.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include "base/check.h"
#include "privacy/crypto/openssl_error.h"

namespace fedtune {
namespace {

OpensslPtr<EVP_PKEY> FromParameters(OSSL_PARAM_BLD* builder, int selection) {
  const OpensslPtr<OSSL_PARAM> parameters(OSSL_PARAM_BLD_to_param(builder));
  const OpensslPtr<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* key = nullptr;
  if (parameters == nullptr || context == nullptr || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, selection, parameters.get()) != 1) {
    return nullptr;
  }
  return OpensslPtr<EVP_PKEY>(key);
}

OpensslPtr<OSSL_PARAM_BLD> Builder(std::span<const uint8_t> point) {
  OpensslPtr<OSSL_PARAM_BLD> builder(OSSL_PARAM_BLD_new());
  Check(builder != nullptr &&
            OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "P-256",
                                            0) == 1 &&
            OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                             point.size()) == 1,
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

// A private scalar's key; the public one follows from it.
OpensslPtr<EVP_PKEY> KeyOf(const EC_GROUP* group, const BIGNUM* scalar, BN_CTX* context) {
  const OpensslPtr<EC_POINT> point(EC_POINT_new(group));
  std::vector<uint8_t> encoded(kP256PublicKeySize);
  Check(EC_POINT_mul(group, point.get(), scalar, nullptr, nullptr, context) == 1 &&
            EC_POINT_point2oct(group, point.get(), POINT_CONVERSION_UNCOMPRESSED, encoded.data(),
                               encoded.size(), context) == encoded.size(),
        "OpenSSL computes on P-256");
  const OpensslPtr<OSSL_PARAM_BLD> builder = Builder(encoded);
  Check(OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_PRIV_KEY, scalar) == 1,
        "OpenSSL takes a private key");
  OpensslPtr<EVP_PKEY> key = FromParameters(builder.get(), EVP_PKEY_KEYPAIR);
  Check(key != nullptr, "OpenSSL makes P-256 keys");
  return key;
}

}  // namespace

OpensslPtr<EVP_PKEY> P256KeyFromStretched(const SecretBytes& stretched) {
  const OpensslPtr<EC_GROUP> group(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
  const OpensslPtr<BN_CTX> context(BN_CTX_secure_new());
  const OpensslPtr<BIGNUM> scalar = SecretNumber(stretched);
  const OpensslPtr<BIGNUM> order(BN_dup(EC_GROUP_get0_order(group.get())));
  Check(BN_sub_word(order.get(), 1) == 1 &&
            BN_mod(scalar.get(), scalar.get(), order.get(), context.get()) == 1 &&
            BN_add_word(scalar.get(), 1) == 1,
        "OpenSSL reduces numbers");
  return KeyOf(group.get(), scalar.get(), context.get());
}

OpensslPtr<EVP_PKEY> P256KeyFromScalar(const SecretBytes& scalar) {
  const OpensslPtr<EC_GROUP> group(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
  const OpensslPtr<BN_CTX> context(BN_CTX_secure_new());
  return KeyOf(group.get(), SecretNumber(scalar).get(), context.get());
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

std::vector<uint8_t> P256Point(const EVP_PKEY* key) {
  std::vector<uint8_t> point(kP256PublicKeySize);
  size_t size = 0;
  // Keys that were read from a file may answer in compressed form.
  Check(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size(),
                                        &size) == 1 &&
            size == point.size(),
        "OpenSSL gives a P-256 point in 65 bytes");
  return point;
}

}  // namespace fedtune
