// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/request_command.h"

#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/identity/key_directory.h"

namespace fedtune {
namespace {

absl::Status MakeRequest(const RequestFlags& flags) {
  ASSIGN_OR_RETURN(const KeyAndRequest made, MakeKeyAndRequest(flags.directory, flags.identity));
  fmt::print("{}\n", made.request.string());
  fmt::print(stderr, "{}\n", made.next_step);
  return absl::OkStatus();
}

}  // namespace

void AddRequestCommand(CommandLine& line, const CommandText& text, const std::string& name_help,
                       RequestFlags& flags) {
  CLI::App& request = line.Add(text, [&flags] { return MakeRequest(flags); });
  request.add_option("--federation", flags.identity.federation, "The federation's name")
      ->required();
  CLI::Option* name = request.add_option("--name", flags.identity.name, name_help);
  flags.identity.name.empty() ? name->required() : name->capture_default_str();
  request.add_option("--dir", flags.directory, "Folder for key.pem and request.pem")->required();
}

}  // namespace fedtune
