// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "absl/status/status.h"

namespace fedtune {

// The write-ahead log of a database: where the file lies that it is or that it names as a
// link.
std::filesystem::path LogOf(const std::filesystem::path& database);

// How many bytes the database's file and its log have together; one that is not there has
// none.
uint64_t SizeOfDatabase(const std::filesystem::path& database);

// SQLite reads a write-ahead log up to the first frame whose checksum is wrong, and takes
// what follows for the rest of a transaction that a crash has cut off. Damage within the
// log would undo in silence all that was committed after it. This tells the two apart: a
// frame that is wrong and behind which a whole transaction follows upon another one's
// commit was on the disk once, because a log is synced with each commit.
//
// The first frame, from 1, that is damaged; 0: the log's header is. None if there is no
// log that can be read, or the last transaction alone may have been cut off: damage to
// that one looks the same. Others may write the log meanwhile.
std::optional<int64_t> DamagedFrame(const std::filesystem::path& database);

// DATA_LOSS: DamagedFrame() names one.
absl::Status CheckLog(const std::filesystem::path& database);

// Removes a log of whose header a crash has left half of a new one, if all that it has
// committed is in the database: SQLite would begin anew under the salts of what is left.
// Call it before the database is opened to be written, by the one who may write it.
void RemoveHalfNewLog(const std::filesystem::path& database);

}  // namespace fedtune
