// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fedtune {

// A page of a checked database (SqliteDatabase::OpenChecked()) ends with eight bytes
// that follow from the others and from the page's number, so that no flipped bit and
// no page in another's place goes unnoticed. SQLite calls them reserved and leaves them
// alone; its own tools read such a file, and what they write counts as damage.
inline constexpr size_t kPageChecksumBytes = 8;

// Where a database's header says how many bytes are reserved.
inline constexpr size_t kReservedBytesAt = 20;

// Whether the header, the start of a database file, is one of a checked database.
bool HasPageChecksums(std::span<const uint8_t> header);

// Page `number`, from 1, gets its checksum.
void SealPage(int64_t number, std::span<uint8_t> page);

// Whether the page is as it was written. One of zeros was never written.
bool IsPageIntact(int64_t number, std::span<const uint8_t> page);

// Told how many pages are done, and of how many; false: give up.
using PageProgress = std::function<bool(int64_t done, int64_t all)>;

// Reads the file of a checked database page by page, though it may be written
// meanwhile, and gives the numbers of those that are damaged and of which the
// write-ahead log has no newer version. The process must not have the database open.
//
// NOT_FOUND, PERMISSION_DENIED, INTERNAL: the file cannot be read. CANCELLED: by
// `progress`.
absl::StatusOr<std::vector<int64_t>> DamagedPages(const std::filesystem::path& path,
                                                  const PageProgress& progress = nullptr);

// Seals every page of a database file that reserves the bytes and is not in use, and
// syncs it. RESOURCE_EXHAUSTED, INTERNAL.
absl::Status SealAllPages(const std::filesystem::path& path);

// What the start of a database file says of checksums.
enum class Checksums {
  kNone,
  kAll,
  kHidden,  // Says none, but a bit was flipped: the rest of the page is sealed.
};

// Errors as ErrnoToStatus(): the file cannot be read.
absl::StatusOr<Checksums> ChecksumsOf(const std::filesystem::path& path);

}  // namespace fedtune
