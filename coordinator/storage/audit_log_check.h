// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/sqlite/sqlite.h"

namespace fedtune {

// Computes the audit log's tree anew from its entries and compares it with the hashes that
// are stored, and the releases that it tells of with those that are there. What is wrong, a
// line each, the first hundred; empty: nothing. The head that is stored with each entry speaks
// for the last ones, from schema 10 on. Whoever has changed entries, hashes and head alike is
// found by who has kept a checkpoint alone.
//
// `database` has the log, and others may write it meanwhile. `progress` is told how much is
// done, and may fail. Errors: its own; of `database`.
absl::StatusOr<std::vector<std::string>> ProblemsOfLog(
    const SqliteDatabase& database, const std::function<absl::Status(double)>& progress);

}  // namespace fedtune
