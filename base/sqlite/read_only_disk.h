// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace fedtune {

// The URI by which SQLite reads a database on a disk that is read-only, as Linux makes one
// that has failed: a reader, too, would make files beside it there, of which nobody has need
// as nobody can write. None where something can be written, or a write-ahead log, which
// SQLite would leave out then, lies beside the database.
std::optional<std::string> UriOnReadOnlyDisk(const std::filesystem::path& database);

}  // namespace fedtune
