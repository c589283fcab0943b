// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>

namespace fedtune {

// The name of an SQLite VFS over the default one that seals the pages of checked
// databases as they are written to the database's file, and lets no damaged one be
// read (SQLITE_IOERR_DATA). A new file that is opened through it is to be a checked
// database. Registers it with the first call; thread-safe.
const char* ChecksumVfs();

// The number of the last damaged page that this thread has come across, once.
std::optional<int64_t> TakeDamagedPage();

}  // namespace fedtune
