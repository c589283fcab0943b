// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>

#include "absl/status/status.h"

namespace fedtune {

// A state directory without a database, or with one that knows of no run, is new, or has
// lost it: a coordinator that made another one there would remove the adapters that the
// lost one knew of.
//
// DATA_LOSS: `state` has adapters or contributions, and no database that knows of a run;
// or the database is damaged.
// FAILED_PRECONDITION: a restore there was cut off.
absl::Status CheckHasNotLostItsDatabase(const std::filesystem::path& state);

}  // namespace fedtune
