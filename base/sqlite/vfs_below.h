// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sqlite3.h>

namespace fedtune {

// What VFSes have in common that lie between SQLite and another one. `File` is a file of such a
// VFS: its first member is an sqlite3_file, as SQLite sees it, and in memory the file of the VFS
// below lies right behind it (szOsFile has room for both).
//
// No state of their own: as thread-safe as the file is, which SQLite uses from one thread at a
// time. Codes are those of the file below.
template <typename File>
sqlite3_file* FileBelow(sqlite3_file* file) {
  return reinterpret_cast<sqlite3_file*>(reinterpret_cast<File*>(file) + 1);
}

// Calls the same method of the file below.
template <typename File, auto method, typename... Args>
auto PassDown(sqlite3_file* file, Args... args) {
  sqlite3_file* const below = FileBelow<File>(file);
  return (below->pMethods->*method)(below, args...);
}

// All methods, each of which passes the call on: a VFS sets those that it has of its own. Without
// xFetch: pages in mapped memory would be read unseen.
template <typename File>
inline constexpr sqlite3_io_methods kPassingMethods = {
    .iVersion = 2,
    .xClose = PassDown<File, &sqlite3_io_methods::xClose>,
    .xRead = PassDown<File, &sqlite3_io_methods::xRead>,
    .xWrite = PassDown<File, &sqlite3_io_methods::xWrite>,
    .xTruncate = PassDown<File, &sqlite3_io_methods::xTruncate>,
    .xSync = PassDown<File, &sqlite3_io_methods::xSync>,
    .xFileSize = PassDown<File, &sqlite3_io_methods::xFileSize>,
    .xLock = PassDown<File, &sqlite3_io_methods::xLock>,
    .xUnlock = PassDown<File, &sqlite3_io_methods::xUnlock>,
    .xCheckReservedLock = PassDown<File, &sqlite3_io_methods::xCheckReservedLock>,
    .xFileControl = PassDown<File, &sqlite3_io_methods::xFileControl>,
    .xSectorSize = PassDown<File, &sqlite3_io_methods::xSectorSize>,
    .xDeviceCharacteristics = PassDown<File, &sqlite3_io_methods::xDeviceCharacteristics>,
    .xShmMap = PassDown<File, &sqlite3_io_methods::xShmMap>,
    .xShmLock = PassDown<File, &sqlite3_io_methods::xShmLock>,
    .xShmBarrier = PassDown<File, &sqlite3_io_methods::xShmBarrier>,
    .xShmUnmap = PassDown<File, &sqlite3_io_methods::xShmUnmap>,
    .xFetch = nullptr,
    .xUnfetch = nullptr,
};

}  // namespace fedtune
