// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>

#include "absl/status/statusor.h"
#include "base/sqlite/sqlite.h"

namespace fedtune {

// Opens the coordinator's database and brings its schema up to date. Several
// connections may be open at once.
//
// Errors as SqliteDatabase::Open() and Migrate().
absl::StatusOr<SqliteDatabase> OpenStateDatabase(const std::filesystem::path& path);

}  // namespace fedtune
