// SPDX-License-Identifier: Apache-2.0

#include <malloc.h>
#include <sys/prctl.h>

#include <cstdio>

#include "base/command_line.h"
#include "base/exhaustion.h"
#include "base/fail_point.h"
#include "coordinator/serve_command.h"
#include "coordinator/storage_commands.h"
#include "privacy/identity/request_command.h"

namespace fedtune {
namespace {

void AddRequest(CommandLine& line, RequestFlags& flags) {
  flags.identity.role = Role::kCoordinator;
  flags.identity.name = "coordinator";
  AddRequestCommand(
      line,
      {"request",
       "Makes a key and a request for the coordinator's certificate.",
       {"fedtune-coordinator request --federation north --dir /var/lib/fedtune/keys"}},
      "The coordinator's name", flags);
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
