// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"

namespace fedtune {

// The script that completes `program`'s commands and options in one of the
// shells "bash", "zsh" and "fish"; arguments of options complete to files.
// Requires: the program has a command.
//
// INVALID_ARGUMENT: another shell.
absl::StatusOr<std::string> CompletionScript(const CLI::App& program, std::string_view shell);

}  // namespace fedtune
