// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "privacy/crypto/agreement_key.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/cipher_suite.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// What a federation key, which the institutions have and the coordinator has
// not, adds to the pairwise masks of one session. The coordinator gets it only
// when it has to take masks of dropped clients off.
SecretBytes MaskSaltOf(const SecretBytes& federation_key, const Digest& session);

// The public commitment to it, by which liars are told.
Digest CommitToMaskSalt(const Digest& session, const SecretBytes& mask_salt);

// The public commitment to the seed of a client's self-mask.
Digest CommitToSeed(const Digest& session, uint32_t number, const SecretBytes& seed);

// Keys that two clients (or, for masks, the coordinator at the end) derive from
// public values and one shared secret. Numbers are those of the signing roster.
//
// The key of a pairwise mask is the same for both. A key that seals shares is
// used once, in one direction.
SecretBytes PairMaskKey(const Digest& session, const std::optional<SecretBytes>& mask_salt,
                        const SecretBytes& agreed, uint32_t one, uint32_t other);
SecretBytes ShareSealingKey(const Digest& session, const std::optional<SecretBytes>& federation_key,
                            const SecretBytes& agreed, uint32_t from, uint32_t to);
SecretBytes SelfMaskKey(const Digest& session, const SecretBytes& seed);

// What a sealed share is bound to.
Bytes ShareContext(const Digest& session, uint32_t from, uint32_t to,
                   const Digest& seed_commitment);

// Everything that one client keeps secret in one session. It all follows from
// one stored secret of 32 bytes, so that a client that was restarted says the
// same again: another coefficient under a key that seals shares would be a
// second message under a one-time key.
class RoundSecrets {
 public:
  RoundSecrets(const SecretBytes& round_secret, const Digest& session, CipherSuite suite);

  const AgreementKey& share_key() const { return share_key_; }
  const AgreementKey& mask_key() const { return mask_key_; }
  const SecretBytes& mask_key_seed() const { return mask_key_seed_; }
  const SecretBytes& self_mask_seed() const { return self_mask_seed_; }
  // For splitting the two of them.
  const SecretBytes& mask_key_coefficients() const { return mask_key_coefficients_; }
  const SecretBytes& self_mask_coefficients() const { return self_mask_coefficients_; }
  const Digest& nonce() const { return nonce_; }

 private:
  SecretBytes mask_key_seed_;
  SecretBytes self_mask_seed_;
  SecretBytes mask_key_coefficients_;
  SecretBytes self_mask_coefficients_;
  Digest nonce_;
  AgreementKey share_key_;
  AgreementKey mask_key_;
};

// The key of the quantiser's rounding in this session.
SecretBytes RoundingKey(const SecretBytes& round_secret, const Digest& session);

}  // namespace fedtune
