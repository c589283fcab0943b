// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/sha256.h"
#include "privacy/secure_aggregation/messages.h"

namespace fedtune {

// What the signatures of a session are over: a label, the session id and the
// SHA-256 of the statement's canonical bytes. A signature under one label or in
// one session is none under another.

// Everything in `message` but its signature.
Bytes AdvertisementStatement(const Digest& session, const Advertisement& message);

// That the client has sealed exactly these shares for the neighbours that follow
// from `root`, and has committed to this seed.
Bytes SharesStatement(const Digest& session, const Digest& root, uint32_t number,
                      const Digest& seed_commitment, const Digest& all_sealed);

// That these masked chunks are its input among `sharers`.
Bytes InputStatement(const Digest& session, const Digest& sharers, uint32_t number,
                     const Digest& chunk_root);

// That it has been told of exactly these survivors.
Bytes AgreementStatement(const Digest& session, uint32_t number, const Digest& survivors);

// The hashes that stand for the clients that shared (U2), and for those whose
// input has arrived (U3).
Digest HashOfSharers(const Digest& session, const Digest& root, const PlaceSet& sharers);
Digest HashOfSurvivors(const Digest& session, const Digest& sharers, const PlaceSet& survivors);

// Of the sealed shares in their order.
Digest HashOfSealed(const std::vector<Bytes>& sealed);

}  // namespace fedtune
