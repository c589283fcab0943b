// SPDX-License-Identifier: Apache-2.0

#include "client/storage/sealed_file.h"

#include <algorithm>
#include <utility>

#include "base/file_writer.h"
#include "base/files.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/aead.h"
#include "privacy/crypto/hkdf.h"
#include "privacy/crypto/random_bytes.h"

namespace fedtune {
namespace {

constexpr std::string_view kForm = "fedtune/sealed-file/1";
constexpr size_t kSaltSize = 32;
constexpr size_t kPieceSize = 1 << 20;
constexpr size_t kSealedPieceSize = kPieceSize + kAeadTagSize;

SecretBytes FileKey(const FileSeal& seal, ByteSpan salt) {
  CanonicalWriter info;
  info.Sized(kForm).Sized(seal.purpose);
  return HkdfSha256(seal.key.Reveal(), salt, info.bytes(), kAeadKeySize);
}

// The piece's number in big-endian, and whether it is the last: no two pieces of a
// file have the same, and none is missing at its end.
AeadNonce NonceOf(uint64_t piece, bool is_last) {
  CanonicalWriter writer;
  writer.U64(piece).U32(is_last ? 1 : 0);
  AeadNonce nonce;
  std::copy(writer.bytes().begin(), writer.bytes().end(), nonce.begin());
  return nonce;
}

// At least one, so that an empty file has an end.
uint64_t PieceCount(uint64_t size) {
  return std::max<uint64_t>(1, (size + kPieceSize - 1) / kPieceSize);
}

// Fills pieces with what comes in parts.
class Sealer {
 public:
  Sealer(FileWriter& writer, SecretBytes key, uint64_t size)
      : writer_(writer), key_(std::move(key)), pieces_(PieceCount(size)) {}

  absl::Status Add(ByteSpan part) {
    while (!part.empty()) {
      if (room_.size() == kPieceSize) RETURN_IF_ERROR(Flush());
      const ByteSpan some = part.first(std::min(part.size(), kPieceSize - room_.size()));
      room_.insert(room_.end(), some.begin(), some.end());
      part = part.subspan(some.size());
    }
    return absl::OkStatus();
  }

  absl::Status Flush() {
    const AeadNonce nonce = NonceOf(piece_, piece_ + 1 == pieces_);
    ++piece_;
    RETURN_IF_ERROR(writer_.Write(Seal(key_, nonce, {}, room_)));
    room_.clear();
    return absl::OkStatus();
  }

 private:
  FileWriter& writer_;
  const SecretBytes key_;
  const uint64_t pieces_;
  uint64_t piece_ = 0;
  Bytes room_;
};

}  // namespace

absl::Status WriteSealedFile(const std::filesystem::path& path, const FileSeal& seal,
                             std::span<const ByteSpan> parts) {
  uint64_t size = 0;
  for (const ByteSpan part : parts) size += part.size();
  ASSIGN_OR_RETURN(FileWriter writer,
                   FileWriter::Create(path, kSaltSize + size + PieceCount(size) * kAeadTagSize));
  const Bytes salt = RandomBytes(kSaltSize);
  RETURN_IF_ERROR(writer.Write(salt));
  Sealer sealer(writer, FileKey(seal, salt), size);
  for (const ByteSpan part : parts) RETURN_IF_ERROR(sealer.Add(part));
  RETURN_IF_ERROR(sealer.Flush());
  return std::move(writer).Commit();
}

absl::StatusOr<Bytes> ReadSealedFile(const std::filesystem::path& path, const FileSeal& seal) {
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  const absl::Status damaged = absl::DataLossError(
      fmt::format("{} was sealed with another key, or has been changed", path.string()));
  ByteSpan rest(reinterpret_cast<const uint8_t*>(file.bytes().data()), file.bytes().size());
  if (rest.size() < kSaltSize + kAeadTagSize) return damaged;
  const SecretBytes key = FileKey(seal, rest.first(kSaltSize));
  rest = rest.subspan(kSaltSize);
  Bytes content;
  content.reserve(rest.size());
  for (uint64_t piece = 0; !rest.empty(); ++piece) {
    const ByteSpan sealed = rest.first(std::min(rest.size(), kSealedPieceSize));
    rest = rest.subspan(sealed.size());
    const absl::StatusOr<SecretBytes> opened = Open(key, NonceOf(piece, rest.empty()), {}, sealed);
    if (!opened.ok()) return damaged;
    content.insert(content.end(), opened->Reveal().begin(), opened->Reveal().end());
  }
  return content;
}

}  // namespace fedtune
