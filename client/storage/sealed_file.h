// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/secret_bytes.h"

namespace fedtune {

// How a file is sealed. The key has kAeadKeySize bytes and outlives the seal; the
// purpose is bound to the file, so that one of another purpose does not open.
struct FileSeal {
  const SecretBytes& key;
  std::string_view purpose;
};

// Files of any size that only who has the key can read, or make: a salt, from which
// and the key comes the file's own key, then pieces of up to 1 MiB, each sealed
// under its number and whether it is the last. Both calls are thread-safe.

// Writes the parts, one after the other, in place of what is at `path`. It is on
// the disk when this returns; until then the old file is there. Never holds more
// than a piece of it in memory.
//
// RESOURCE_EXHAUSTED: the disk is full. Others as FileWriter.
absl::Status WriteSealedFile(const std::filesystem::path& path, const FileSeal& seal,
                             std::span<const ByteSpan> parts);

// DATA_LOSS: sealed with another key or for another purpose, or changed, or cut
// short. Others as MappedFile::Open().
absl::StatusOr<Bytes> ReadSealedFile(const std::filesystem::path& path, const FileSeal& seal);

}  // namespace fedtune
