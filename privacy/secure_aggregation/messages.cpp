// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/messages.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/secure_aggregation/session_parameters.h"

namespace fedtune {
namespace {

constexpr uint32_t kMost = kMostClients;
constexpr uint32_t kLongestProof = 32;
constexpr size_t kSaltSize = 32;

CanonicalWriter Begin(MessageKind kind) {
  CanonicalWriter writer;
  writer.U8(static_cast<uint8_t>(kind));
  return writer;
}

// Positions a reader behind the kind, or refuses the message.
absl::StatusOr<CanonicalReader> Open(ByteSpan message, MessageKind kind) {
  ASSIGN_OR_RETURN(const MessageKind found, KindOf(message));
  if (found != kind) {
    return absl::InvalidArgumentError(fmt::format("message {} was expected and {} came",
                                                  static_cast<int>(kind), static_cast<int>(found)));
  }
  return CanonicalReader(message.subspan(1));
}

void Write(CanonicalWriter& writer, const PlaceSet& set) {
  writer.U32(static_cast<uint32_t>(set.places()));
  uint8_t byte = 0;
  for (int place = 0; place < set.places(); ++place) {
    if (set.Contains(place)) byte = static_cast<uint8_t>(byte | 1 << place % 8);
    if (place % 8 == 7 || place + 1 == set.places()) writer.U8(std::exchange(byte, 0));
  }
}

PlaceSet ReadPlaces(CanonicalReader& reader, bool& sound) {
  const uint32_t claimed = reader.U32();
  const uint32_t places = std::min(claimed, kMost);
  if (claimed > kMost) sound = false;
  PlaceSet set(static_cast<int>(places));
  uint8_t byte = 0;
  for (uint32_t place = 0; place < places; ++place) {
    if (place % 8 == 0) byte = reader.U8();
    if ((byte >> place % 8 & 1) != 0) set.Insert(static_cast<int>(place));
  }
  // A message has one encoding: the bits after the last place are zero.
  if (places % 8 != 0 && byte >> places % 8 != 0) sound = false;
  return set;
}

absl::Status Unsound(bool sound, std::string_view what) {
  if (sound) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("{} is not in its one encoding", what));
}

Advertisement ReadAdvertisement(CanonicalReader& reader) {
  Advertisement message;
  message.number = reader.U32();
  message.share_key = reader.Sized(kLargestPublicKey);
  message.mask_key = reader.Sized(kLargestPublicKey);
  message.nonce = reader.ReadDigest();
  message.model = reader.ReadDigest();
  message.mask_salt_check = reader.ReadDigest();
  message.signature = reader.Fixed(kSignatureSize);
  return message;
}

}  // namespace

int PlaceSet::size() const {
  return static_cast<int>(std::count(bits_.begin(), bits_.end(), true));
}

bool PlaceSet::IsPartOf(const PlaceSet& other) const {
  if (places() != other.places()) return false;
  for (int place = 0; place < places(); ++place) {
    if (Contains(place) && !other.Contains(place)) return false;
  }
  return true;
}

absl::StatusOr<MessageKind> KindOf(ByteSpan message) {
  if (message.empty() || message.size() > kLargestMessage || message[0] < 1 || message[0] > 9) {
    return absl::InvalidArgumentError("this is no message of a secure aggregation");
  }
  return static_cast<MessageKind>(message[0]);
}

// ---- Encoding ----

Bytes Encode(const Advertisement& message) {
  return Begin(MessageKind::kAdvertisement)
      .U32(message.number)
      .Sized(message.share_key)
      .Sized(message.mask_key)
      .Fixed(message.nonce)
      .Fixed(message.model)
      .Fixed(message.mask_salt_check)
      .Fixed(message.signature)
      .bytes();
}

Bytes Encode(const KeyDirectory& message) {
  CanonicalWriter writer = Begin(MessageKind::kKeyDirectory);
  writer.U32(message.client_count).Fixed(message.root);
  writer.U32(static_cast<uint32_t>(message.entries.size()));
  for (const KeyDirectory::Entry& entry : message.entries) {
    const Bytes advertisement = Encode(entry.advertisement);
    writer.U32(entry.place).Fixed(ByteSpan(advertisement).subspan(1));
    writer.U32(static_cast<uint32_t>(entry.proof.size()));
    for (const Digest& hash : entry.proof) writer.Fixed(hash);
  }
  return std::move(writer).Take();
}

Bytes Encode(const Shares& message) {
  CanonicalWriter writer = Begin(MessageKind::kShares);
  writer.Fixed(message.seed_commitment).U32(static_cast<uint32_t>(message.sealed.size()));
  for (const Bytes& sealed : message.sealed) writer.Fixed(sealed);
  return writer.Fixed(message.signature).bytes();
}

Bytes Encode(const SharesForYou& message) {
  CanonicalWriter writer = Begin(MessageKind::kSharesForYou);
  Write(writer, message.sharers);
  writer.U32(static_cast<uint32_t>(message.entries.size()));
  for (const SharesForYou::Entry& entry : message.entries) {
    writer.Fixed(entry.seed_commitment).Fixed(entry.all_sealed);
    writer.Fixed(entry.sealed).Fixed(entry.signature);
  }
  return std::move(writer).Take();
}

Bytes Encode(const InputManifest& message) {
  return Begin(MessageKind::kInputManifest)
      .Fixed(message.chunk_root)
      .Fixed(message.signature)
      .bytes();
}

Bytes Encode(const Survivors& message) {
  CanonicalWriter writer = Begin(MessageKind::kSurvivors);
  Write(writer, message.survivors);
  return std::move(writer).Take();
}

Bytes Encode(const Agreement& message) {
  return Begin(MessageKind::kAgreement).Fixed(message.signature).bytes();
}

Bytes Encode(const AgreementProof& message) {
  CanonicalWriter writer = Begin(MessageKind::kAgreementProof);
  writer.U32(static_cast<uint32_t>(message.entries.size()));
  for (const AgreementProof::Entry& entry : message.entries) {
    writer.U32(entry.place).Fixed(entry.signature);
  }
  return std::move(writer).Take();
}

Bytes Encode(const UnmaskShares& message) {
  CanonicalWriter writer = Begin(MessageKind::kUnmaskShares);
  PlaceSet present(static_cast<int>(message.shares.size()));
  for (int i = 0; i < present.places(); ++i) {
    if (message.shares[static_cast<size_t>(i)].has_value()) present.Insert(i);
  }
  Write(writer, present);
  for (const auto& share : message.shares) {
    if (share.has_value()) writer.Fixed(share->Reveal());
  }
  writer.Sized(message.mask_salt.has_value() ? message.mask_salt->Reveal() : ByteSpan());
  return std::move(writer).Take();
}

// ---- Decoding ----

absl::StatusOr<Advertisement> DecodeAdvertisement(ByteSpan message) {
  ASSIGN_OR_RETURN(CanonicalReader reader, Open(message, MessageKind::kAdvertisement));
  Advertisement decoded = ReadAdvertisement(reader);
  RETURN_IF_ERROR(reader.Finish("an advertisement"));
  return decoded;
}

absl::StatusOr<KeyDirectory> DecodeKeyDirectory(ByteSpan message) {
  ASSIGN_OR_RETURN(CanonicalReader reader, Open(message, MessageKind::kKeyDirectory));
  KeyDirectory decoded;
  decoded.client_count = reader.U32();
  decoded.root = reader.ReadDigest();
  decoded.entries.resize(reader.Count(kMost, sizeof(uint32_t) + kSignatureSize));
  for (KeyDirectory::Entry& entry : decoded.entries) {
    entry.place = reader.U32();
    entry.advertisement = ReadAdvertisement(reader);
    entry.proof.resize(reader.Count(kLongestProof, sizeof(Digest::bytes)));
    for (Digest& hash : entry.proof) hash = reader.ReadDigest();
  }
  RETURN_IF_ERROR(reader.Finish("a key directory"));
  return decoded;
}

absl::StatusOr<Shares> DecodeShares(ByteSpan message) {
  ASSIGN_OR_RETURN(CanonicalReader reader, Open(message, MessageKind::kShares));
  Shares decoded;
  decoded.seed_commitment = reader.ReadDigest();
  decoded.sealed.resize(reader.Count(kMost, kSealedSize));
  for (Bytes& sealed : decoded.sealed) sealed = reader.Fixed(kSealedSize);
  decoded.signature = reader.Fixed(kSignatureSize);
  RETURN_IF_ERROR(reader.Finish("a message with shares"));
  return decoded;
}

absl::StatusOr<SharesForYou> DecodeSharesForYou(ByteSpan message) {
  ASSIGN_OR_RETURN(CanonicalReader reader, Open(message, MessageKind::kSharesForYou));
  SharesForYou decoded;
  bool sound = true;
  decoded.sharers = ReadPlaces(reader, sound);
  decoded.entries.resize(reader.Count(kMost, kSealedSize + kSignatureSize));
  for (SharesForYou::Entry& entry : decoded.entries) {
    entry.seed_commitment = reader.ReadDigest();
    entry.all_sealed = reader.ReadDigest();
    entry.sealed = reader.Fixed(kSealedSize);
    entry.signature = reader.Fixed(kSignatureSize);
  }
  RETURN_IF_ERROR(reader.Finish("a message with the others' shares"));
  RETURN_IF_ERROR(Unsound(sound, "a message with the others' shares"));
  return decoded;
}

absl::StatusOr<InputManifest> DecodeInputManifest(ByteSpan message) {
  ASSIGN_OR_RETURN(CanonicalReader reader, Open(message, MessageKind::kInputManifest));
  InputManifest decoded;
  decoded.chunk_root = reader.ReadDigest();
  decoded.signature = reader.Fixed(kSignatureSize);
  RETURN_IF_ERROR(reader.Finish("an input's manifest"));
  return decoded;
}

absl::StatusOr<Survivors> DecodeSurvivors(ByteSpan message) {
  ASSIGN_OR_RETURN(CanonicalReader reader, Open(message, MessageKind::kSurvivors));
  Survivors decoded;
  bool sound = true;
  decoded.survivors = ReadPlaces(reader, sound);
  RETURN_IF_ERROR(reader.Finish("a list of survivors"));
  RETURN_IF_ERROR(Unsound(sound, "a list of survivors"));
  return decoded;
}

absl::StatusOr<Agreement> DecodeAgreement(ByteSpan message) {
  ASSIGN_OR_RETURN(CanonicalReader reader, Open(message, MessageKind::kAgreement));
  Agreement decoded{reader.Fixed(kSignatureSize)};
  RETURN_IF_ERROR(reader.Finish("an agreement"));
  return decoded;
}

absl::StatusOr<AgreementProof> DecodeAgreementProof(ByteSpan message) {
  ASSIGN_OR_RETURN(CanonicalReader reader, Open(message, MessageKind::kAgreementProof));
  AgreementProof decoded;
  decoded.entries.resize(reader.Count(kMost, sizeof(uint32_t) + kSignatureSize));
  for (AgreementProof::Entry& entry : decoded.entries) {
    entry.place = reader.U32();
    entry.signature = reader.Fixed(kSignatureSize);
  }
  RETURN_IF_ERROR(reader.Finish("a proof of agreement"));
  return decoded;
}

absl::StatusOr<UnmaskShares> DecodeUnmaskShares(ByteSpan message) {
  ASSIGN_OR_RETURN(CanonicalReader reader, Open(message, MessageKind::kUnmaskShares));
  UnmaskShares decoded;
  bool sound = true;
  const PlaceSet present = ReadPlaces(reader, sound);
  for (int i = 0; i < present.places(); ++i) {
    decoded.shares.emplace_back();
    if (present.Contains(i)) decoded.shares.back() = SecretBytes(reader.Fixed(kShareSize));
  }
  Bytes salt = reader.Sized(kSaltSize);
  if (!salt.empty()) decoded.mask_salt = SecretBytes(std::move(salt));
  RETURN_IF_ERROR(reader.Finish("a message with shares for unmasking"));
  RETURN_IF_ERROR(Unsound(sound, "a message with shares for unmasking"));
  return decoded;
}

}  // namespace fedtune
