// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/statements.h"

#include <string_view>

namespace fedtune {
namespace {

Bytes Statement(std::string_view label, const Digest& session, const CanonicalWriter& body) {
  CanonicalWriter writer;
  writer.Fixed(SpanOf(label)).Fixed(session).Fixed(Sha256Of(ByteSpan(body.bytes())));
  return std::move(writer).Take();
}

Digest HashOfPlaces(std::string_view label, const Digest& session, const Digest& before,
                    const PlaceSet& places) {
  CanonicalWriter writer;
  writer.Sized(label).Fixed(session).Fixed(before).Fixed(Encode(Survivors{places}));
  return Sha256Of(ByteSpan(writer.bytes()));
}

}  // namespace

Bytes AdvertisementStatement(const Digest& session, const Advertisement& message) {
  CanonicalWriter body;
  body.U32(message.number).Sized(message.share_key).Sized(message.mask_key);
  body.Fixed(message.nonce).Fixed(message.model).Fixed(message.mask_salt_check);
  return Statement("ffl/v1/advertise", session, body);
}

Bytes SharesStatement(const Digest& session, const Digest& root, uint32_t number,
                      const Digest& seed_commitment, const Digest& all_sealed) {
  CanonicalWriter body;
  body.U32(number).Fixed(root).Fixed(seed_commitment).Fixed(all_sealed);
  return Statement("ffl/v1/shares", session, body);
}

Bytes InputStatement(const Digest& session, const Digest& sharers, uint32_t number,
                     const Digest& chunk_root) {
  CanonicalWriter body;
  body.U32(number).Fixed(sharers).Fixed(chunk_root);
  return Statement("ffl/v1/input", session, body);
}

Bytes AgreementStatement(const Digest& session, uint32_t number, const Digest& survivors) {
  CanonicalWriter body;
  body.U32(number).Fixed(survivors);
  return Statement("ffl/v1/survivors", session, body);
}

Digest HashOfSharers(const Digest& session, const Digest& root, const PlaceSet& sharers) {
  return HashOfPlaces("ffl/v1/sharers", session, root, sharers);
}

Digest HashOfSurvivors(const Digest& session, const Digest& sharers, const PlaceSet& survivors) {
  return HashOfPlaces("ffl/v1/survivors", session, sharers, survivors);
}

Digest HashOfSealed(const std::vector<Bytes>& sealed) {
  Sha256 hash;
  for (const Bytes& part : sealed) hash.Update(std::as_bytes(std::span(part)));
  return std::move(hash).Finish();
}

}  // namespace fedtune
