// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/aead.h"

#include <openssl/evp.h>

#include <climits>
#include <utility>

#include "absl/status/status.h"
#include "base/check.h"
#include "privacy/crypto/openssl_error.h"
#include "privacy/crypto/openssl_ptr.h"

namespace fedtune {
namespace {

constexpr AeadNonce kZeroNonce = {};

int Size(std::span<const uint8_t> bytes) {
  Check(bytes.size() <= INT_MAX, "a sealed message is shorter than 2 GiB");
  return static_cast<int>(bytes.size());
}

OpensslPtr<EVP_CIPHER_CTX> Begin(const SecretBytes& key, const AeadNonce& nonce, bool sealing) {
  Check(key.size() == kAeadKeySize, "an AES-256 key has 32 bytes");
  OpensslPtr<EVP_CIPHER_CTX> context(EVP_CIPHER_CTX_new());
  Check(context != nullptr &&
            EVP_CipherInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key.Reveal().data(),
                              nonce.data(), sealing ? 1 : 0) == 1,
        "OpenSSL offers AES-256-GCM");
  return context;
}

void Feed(EVP_CIPHER_CTX* context, uint8_t* out, std::span<const uint8_t> in) {
  int written = 0;
  // OpenSSL takes a missing input for the end.
  if (in.empty()) return;
  Check(EVP_CipherUpdate(context, out, &written, in.data(), Size(in)) == 1 && written == Size(in),
        "AES-256-GCM takes all bytes");
}

absl::Status Refused() {
  TakeOpensslError();
  return absl::UnauthenticatedError(
      "a sealed message does not open: it was sealed with another key or changed since");
}

}  // namespace

std::vector<uint8_t> Seal(const SecretBytes& key, const AeadNonce& nonce,
                          std::span<const uint8_t> associated, std::span<const uint8_t> plaintext) {
  const OpensslPtr<EVP_CIPHER_CTX> context = Begin(key, nonce, true);
  Feed(context.get(), nullptr, associated);
  std::vector<uint8_t> sealed(plaintext.size() + kAeadTagSize);
  Feed(context.get(), sealed.data(), plaintext);
  int written = 0;
  uint8_t* tag = sealed.data() + plaintext.size();
  Check(EVP_CipherFinal_ex(context.get(), tag, &written) == 1 &&
            EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kAeadTagSize, tag) == 1,
        "AES-256-GCM ends with a tag");
  return sealed;
}

absl::StatusOr<SecretBytes> Open(const SecretBytes& key, const AeadNonce& nonce,
                                 std::span<const uint8_t> associated,
                                 std::span<const uint8_t> sealed) {
  if (sealed.size() < kAeadTagSize || sealed.size() > INT_MAX) return Refused();
  const OpensslPtr<EVP_CIPHER_CTX> context = Begin(key, nonce, false);
  Feed(context.get(), nullptr, associated);
  const std::span<const uint8_t> body = sealed.first(sealed.size() - kAeadTagSize);
  // Secret from the first byte on, so that it is wiped when the tag is wrong.
  std::vector<uint8_t> room(body.size());
  Feed(context.get(), room.data(), body);
  SecretBytes plaintext(std::move(room));
  std::vector<uint8_t> tag(sealed.end() - kAeadTagSize, sealed.end());
  Check(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kAeadTagSize, tag.data()) == 1,
        "AES-256-GCM takes a tag");
  uint8_t rest[kAeadTagSize];
  int written = 0;
  if (EVP_CipherFinal_ex(context.get(), rest, &written) != 1) return Refused();
  return plaintext;
}

std::vector<uint8_t> SealOnce(const SecretBytes& key, std::span<const uint8_t> associated,
                              std::span<const uint8_t> plaintext) {
  return Seal(key, kZeroNonce, associated, plaintext);
}

absl::StatusOr<SecretBytes> OpenOnce(const SecretBytes& key, std::span<const uint8_t> associated,
                                     std::span<const uint8_t> sealed) {
  return Open(key, kZeroNonce, associated, sealed);
}

}  // namespace fedtune
