// SPDX-License-Identifier: Apache-2.0

#include "base/sqlite/checksum_vfs.h"

#include <sqlite3.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <new>
#include <span>
#include <utility>

#include "base/sqlite/page_checksum.h"
#include "base/sqlite/vfs_below.h"

namespace fedtune {
namespace {

constexpr char kName[] = "fedtune-checksums";
constexpr int kLeastPage = 512;
constexpr int kLargestPage = 65536;

thread_local std::optional<int64_t> damaged_page;

// A database's file; that of the VFS below lies behind it.
struct CheckedFile {
  sqlite3_file base;  // First: SQLite's view of it.
  bool checked;       // Whether its pages carry checksums, as far as is known.
};

CheckedFile& Self(sqlite3_file* file) { return *reinterpret_cast<CheckedFile*>(file); }

bool IsWholePage(int size, sqlite3_int64 offset) {
  return size >= kLeastPage && size <= kLargestPage &&
         std::has_single_bit(static_cast<unsigned>(size)) && offset % size == 0;
}

void LookAtHeader(CheckedFile& file, std::span<const uint8_t> bytes, sqlite3_int64 offset) {
  if (offset == 0 && bytes.size() > kReservedBytesAt) file.checked = HasPageChecksums(bytes);
}

int Read(sqlite3_file* file, void* bytes, int size, sqlite3_int64 offset) {
  const int code = PassDown<CheckedFile, &sqlite3_io_methods::xRead>(file, bytes, size, offset);
  if (code != SQLITE_OK) return code;
  const std::span page(static_cast<const uint8_t*>(bytes), static_cast<size_t>(size));
  LookAtHeader(Self(file), page, offset);
  if (!Self(file).checked || !IsWholePage(size, offset)) return code;
  const int64_t number = offset / size + 1;
  if (IsPageIntact(number, page)) return code;
  damaged_page = number;
  return SQLITE_IOERR_DATA;
}

int Write(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 offset) {
  LookAtHeader(Self(file), {static_cast<const uint8_t*>(bytes), static_cast<size_t>(size)}, offset);
  if (!Self(file).checked || !IsWholePage(size, offset)) {
    return PassDown<CheckedFile, &sqlite3_io_methods::xWrite>(file, bytes, size, offset);
  }
  std::array<uint8_t, kLargestPage> buffer;
  std::memcpy(buffer.data(), bytes, static_cast<size_t>(size));
  SealPage(offset / size + 1, {buffer.data(), static_cast<size_t>(size)});
  return PassDown<CheckedFile, &sqlite3_io_methods::xWrite>(
      file, static_cast<const void*>(buffer.data()), size, offset);
}

constexpr sqlite3_io_methods Methods() {
  sqlite3_io_methods methods = kPassingMethods<CheckedFile>;
  methods.xRead = Read;
  methods.xWrite = Write;
  return methods;
}

constexpr sqlite3_io_methods kMethods = Methods();

int Open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  auto* const below = static_cast<sqlite3_vfs*>(vfs->pAppData);
  if ((flags & SQLITE_OPEN_MAIN_DB) == 0) return below->xOpen(below, name, file, flags, out_flags);
  CheckedFile& self = *new (file) CheckedFile{.base = {.pMethods = nullptr}, .checked = false};
  sqlite3_file* const file_below = FileBelow<CheckedFile>(file);
  const int code = below->xOpen(below, name, file_below, flags, out_flags);
  if (file_below->pMethods == nullptr) return code;
  self.base.pMethods = &kMethods;
  sqlite3_int64 size = 0;
  if (code == SQLITE_OK) PassDown<CheckedFile, &sqlite3_io_methods::xFileSize>(file, &size);
  self.checked = size == 0;
  return code;
}

sqlite3_vfs MakeVfs() {
  sqlite3_vfs* const below = sqlite3_vfs_find(nullptr);
  sqlite3_vfs vfs = *below;
  vfs.zName = kName;
  vfs.szOsFile = static_cast<int>(sizeof(CheckedFile)) + below->szOsFile;
  vfs.pAppData = below;
  vfs.pNext = nullptr;
  vfs.xOpen = Open;
  return vfs;
}

}  // namespace

const char* ChecksumVfs() {
  static sqlite3_vfs vfs = MakeVfs();
  static const int registered = sqlite3_vfs_register(&vfs, 0);
  return registered == SQLITE_OK ? kName : nullptr;
}

std::optional<int64_t> TakeDamagedPage() { return std::exchange(damaged_page, std::nullopt); }

}  // namespace fedtune
