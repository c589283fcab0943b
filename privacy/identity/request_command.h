// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <string>

#include "base/command_line.h"
#include "privacy/identity/identity.h"

namespace fedtune {

struct RequestFlags {
  std::filesystem::path directory;
  Identity identity;
};

// Adds a program's `request`: it makes a key for flags.identity's role, with a request
// for its certificate, and prints where that is. `name_help` says what the name is, which
// must be given unless flags.identity has one already. `flags` must outlive `line`.
void AddRequestCommand(CommandLine& line, const CommandText& text, const std::string& name_help,
                       RequestFlags& flags);

}  // namespace fedtune
