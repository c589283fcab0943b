// SPDX-License-Identifier: Apache-2.0

#include <malloc.h>
#include <sys/prctl.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/command_line.h"
#include "base/logging.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "coordinator/coordinator_config.h"
#include "coordinator/rpc/server.h"
#include "coordinator/storage/directory_lock.h"
#include "fmt/format.h"
#include "privacy/identity/key_directory.h"
#include "privacy/identity/signing_roster.h"

namespace fedtune {
namespace {

constexpr int kMallocArenas = 2;

// The signals that end the program, kept from all threads but the one that waits
// for them. Make it before any thread.
class EndSignals {
 public:
  EndSignals() {
    ::sigemptyset(&signals_);
    ::sigaddset(&signals_, SIGTERM);
    ::sigaddset(&signals_, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }

  std::string Wait() const {
    int signal = 0;
    ::sigwait(&signals_, &signal);
    return signal == SIGINT ? "SIGINT" : "SIGTERM";
  }

 private:
  sigset_t signals_;
};

// A coordinator without a roster can still do plain runs. One that has a wrong
// roster does not start: every client would refuse it.
absl::StatusOr<std::shared_ptr<const SigningRoster>> LoadSigningRoster(
    const CoordinatorConfig& config, absl::Time now, Log& log) {
  if (config.signing_roster.empty()) return nullptr;
  absl::StatusOr<SigningRoster> roster =
      SigningRoster::Load(config.signing_roster, config.credentials.authority, now);
  if (!roster.ok()) return Annotate(roster.status(), "signing_roster");
  log.Info("signing roster",
           {Field("version", roster->version()), Field("institutions", roster->entries().size())});
  return std::make_shared<const SigningRoster>(*std::move(roster));
}

absl::Status Serve(const std::filesystem::path& file, const CoordinatorFlags& flags) {
  const EndSignals end;
  ASSIGN_OR_RETURN(const CoordinatorConfig config, LoadCoordinatorConfig(file, flags));
  ASSIGN_OR_RETURN(const DirectoryLock lock, DirectoryLock::Take(config.state_dir));
  const SystemClock clock;
  Log log(config.log_format);
  ASSIGN_OR_RETURN(std::shared_ptr<const SigningRoster> signing_roster,
                   LoadSigningRoster(config, clock.Now(), log));
  ASSIGN_OR_RETURN(const std::unique_ptr<Server> server,
                   Server::Start({.listen = config.listen,
                                  .credentials = config.credentials,
                                  .state_directory = config.state_dir,
                                  .keep_adapters = config.keep_adapters,
                                  .signing_roster = std::move(signing_roster)},
                                 clock, log));
  const std::string host = config.listen.substr(0, config.listen.rfind(':'));
  log.Info("coordinator started", {Field("federation", server->federation()), Field("host", host),
                                   Field("port", server->port())});
  fmt::print("listening on {}:{}\n", host, server->port());
  std::fflush(stdout);
  const std::string signal = end.Wait();
  log.Info("coordinator stops", {Field("signal", signal)});
  server->Shutdown();
  return absl::OkStatus();
}

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

void AddServe(CommandLine& line, std::filesystem::path& file, CoordinatorFlags& flags) {
  CLI::App& serve = line.Add({"serve",
                              "Runs the coordinator until SIGTERM or SIGINT.",
                              {"fedtune-coordinator serve --config /etc/fedtune/coordinator.toml",
                               "fedtune-coordinator serve --state-dir ./coordinator",
                               "fedtune-coordinator serve --config c.toml --listen 0.0.0.0:8443"}},
                             [&] { return Serve(file, flags); });
  serve.add_option("--config", file, "coordinator.toml; each of its keys is a flag, too");
  serve.add_option("--listen", flags.listen, "host:port to listen on (0.0.0.0:7443)");
  serve.add_option("--state-dir", flags.state_dir, "Where runs and adapters are kept");
  serve.add_option("--certificate", flags.certificate,
                   "The coordinator's certificate (keys/certificate.pem in the state directory)");
  serve.add_option("--key", flags.key, "Its private key (keys/key.pem)");
  serve.add_option("--authority", flags.authority,
                   "The certificate of the federation's authority (keys/authority.pem)");
  serve.add_option("--signing-roster", flags.signing_roster,
                   "The institutions' signing keys, from the authority's custodian");
  serve.add_option("--keep-adapters", flags.keep_adapters,
                   "How many of a run's newest adapters are kept (3)");
  serve.add_option("--log-format", flags.log_format, "text or json");
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
  ::mallopt(M_ARENA_MAX, kMallocArenas);
  CommandLine line({"fedtune-coordinator",
                    "Runs the rounds of a federation.",
                    {"fedtune-coordinator request --federation north --dir coordinator/keys",
                     "fedtune-coordinator serve --state-dir coordinator",
                     "fedtune-coordinator serve --config /etc/fedtune/coordinator.toml"}});
  std::filesystem::path file;
  CoordinatorFlags flags;
  RequestFlags request;
  AddServe(line, file, flags);
  AddRequest(line, request);
  return line.Run(argc, argv);
}
