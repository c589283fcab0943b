// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/session_keys.h"

#include <algorithm>

#include "privacy/crypto/hkdf.h"

namespace fedtune {
namespace {

constexpr size_t kKeySize = 32;

// The salt of all derivations: the session, and a secret besides where there is
// one.
Digest Salt(const Digest& session, const std::optional<SecretBytes>& secret) {
  Sha256 hash;
  hash.Update(std::as_bytes(std::span(session.bytes)));
  if (secret.has_value()) hash.Update(std::as_bytes(secret->Reveal()));
  return std::move(hash).Finish();
}

Bytes Info(std::string_view label, uint32_t first, uint32_t second) {
  CanonicalWriter writer;
  writer.Fixed(SpanOf(label)).U32(first).U32(second);
  return std::move(writer).Take();
}

SecretBytes Derive(const SecretBytes& round_secret, const Digest& session, std::string_view label) {
  return HkdfSha256(round_secret.Reveal(), session.bytes, SpanOf(label), kKeySize);
}

Digest Public(const SecretBytes& derived) {
  Digest digest;
  std::copy_n(derived.Reveal().begin(), digest.bytes.size(), digest.bytes.begin());
  return digest;
}

}  // namespace

SecretBytes MaskSaltOf(const SecretBytes& federation_key, const Digest& session) {
  return Derive(federation_key, session, "ffl/v1/mask-salt");
}

Digest CommitToMaskSalt(const Digest& session, const SecretBytes& mask_salt) {
  Sha256 hash;
  hash.Update("ffl/v1/mask-salt");
  hash.Update(std::as_bytes(std::span(session.bytes)));
  hash.Update(std::as_bytes(mask_salt.Reveal()));
  return std::move(hash).Finish();
}

Digest CommitToSeed(const Digest& session, uint32_t number, const SecretBytes& seed) {
  CanonicalWriter place;
  place.U32(number);
  Sha256 hash;
  hash.Update("ffl/v1/b");
  hash.Update(std::as_bytes(std::span(session.bytes)));
  hash.Update(std::as_bytes(std::span(place.bytes())));
  hash.Update(std::as_bytes(seed.Reveal()));
  return std::move(hash).Finish();
}

SecretBytes PairMaskKey(const Digest& session, const std::optional<SecretBytes>& mask_salt,
                        const SecretBytes& agreed, uint32_t one, uint32_t other) {
  return HkdfSha256(agreed.Reveal(), Salt(session, mask_salt).bytes,
                    Info("ffl/v1/mask", std::min(one, other), std::max(one, other)), kKeySize);
}

SecretBytes ShareSealingKey(const Digest& session, const std::optional<SecretBytes>& federation_key,
                            const SecretBytes& agreed, uint32_t from, uint32_t to) {
  return HkdfSha256(agreed.Reveal(), Salt(session, federation_key).bytes,
                    Info("ffl/v1/share", from, to), kKeySize);
}

SecretBytes SelfMaskKey(const Digest& session, const SecretBytes& seed) {
  return Derive(seed, session, "ffl/v1/self-mask");
}

Bytes ShareContext(const Digest& session, uint32_t from, uint32_t to,
                   const Digest& seed_commitment) {
  CanonicalWriter writer;
  writer.Fixed(session).U32(from).U32(to).Fixed(seed_commitment);
  return std::move(writer).Take();
}

RoundSecrets::RoundSecrets(const SecretBytes& round_secret, const Digest& session,
                           CipherSuite suite)
    : mask_key_seed_(Derive(round_secret, session, "ffl/v1/secret/mask-key")),
      self_mask_seed_(Derive(round_secret, session, "ffl/v1/secret/self-mask")),
      mask_key_coefficients_(Derive(round_secret, session, "ffl/v1/secret/mask-key-shares")),
      self_mask_coefficients_(Derive(round_secret, session, "ffl/v1/secret/self-mask-shares")),
      nonce_(Public(Derive(round_secret, session, "ffl/v1/nonce"))),
      share_key_(
          AgreementKey::FromSeed(suite, Derive(round_secret, session, "ffl/v1/secret/share-key"))),
      mask_key_(AgreementKey::FromSeed(suite, mask_key_seed_)) {}

SecretBytes RoundingKey(const SecretBytes& round_secret, const Digest& session) {
  return Derive(round_secret, session, "ffl/v1/secret/rounding");
}

}  // namespace fedtune
