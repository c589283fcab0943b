// SPDX-License-Identifier: Apache-2.0

#include <malloc.h>
#include <sys/prctl.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "base/command_line.h"
#include "base/exhaustion.h"
#include "base/fail_point.h"
#include "base/status_macros.h"
#include "coordinator/serve_command.h"
#include "coordinator/storage_commands.h"
#include "fmt/format.h"
#include "privacy/identity/key_directory.h"

namespace fedtune {
namespace {

struct RequestFlags {
  std::filesystem::path directory;
  std::string federation;
  std::string name;
};

absl::Status MakeRequest(const RequestFlags& flags) {
  ASSIGN_OR_RETURN(const KeyAndRequest made,
                   MakeKeyAndRequest(flags.directory, {.federation = flags.federation,
                                                       .role = Role::kCoordinator,
                                                       .name = flags.name}));
  fmt::print("{}\n", made.request.string());
  fmt::print(stderr, "{}\n", made.next_step);
  return absl::OkStatus();
}

void AddRequest(CommandLine& line, RequestFlags& flags) {
  CLI::App& request =
      line.Add({"request",
                "Makes a key and a request for the coordinator's certificate.",
                {"fedtune-coordinator request --federation north --dir /var/lib/fedtune/keys"}},
               [&] { return MakeRequest(flags); });
  request.add_option("--dir", flags.directory, "Folder for key.pem and request.pem")->required();
  request.add_option("--federation", flags.federation, "The federation's name")->required();
  request.add_option("--name", flags.name, "The coordinator's name")->default_val("coordinator");
}

}  // namespace
}  // namespace fedtune

int main(int argc, char** argv) {
  using namespace fedtune;      // NOLINT(google-build-using-namespace)
  ::prctl(PR_SET_DUMPABLE, 0);  // No core file may hold the key.
  // The buffers of a thread that is done are to serve the others.
  ::mallopt(M_ARENA_MAX, 1);
  EndWithoutMemory();  // The RPC library goes on after what its calls throw.
  ArmFailPoints();
  CommandLine line({"fedtune-coordinator",
                    "Runs the rounds of a federation.",
                    {"fedtune-coordinator request --federation north --dir coordinator/keys",
                     "fedtune-coordinator serve --state-dir coordinator",
                     "fedtune-coordinator serve --config /etc/fedtune/coordinator.toml"}});
  ServeOptions serve;
  StorageOptions storage;
  RequestFlags request;
  AddServe(line, serve);
  AddStorageCommands(line, storage);
  AddRequest(line, request);
  return line.Run(argc, argv);
}
