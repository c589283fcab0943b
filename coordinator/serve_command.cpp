// SPDX-License-Identifier: Apache-2.0

#include "coordinator/serve_command.h"

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "base/clock.h"
#include "base/directory_lock.h"
#include "base/exhaustion.h"
#include "base/host_and_port.h"
#include "base/logging.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "coordinator/end_signals.h"
#include "coordinator/heap_trimmer.h"
#include "coordinator/rpc/server.h"
#include "coordinator/running_clock.h"
#include "coordinator/storage/backup_schedule.h"
#include "coordinator/storage/file_owner.h"
#include "coordinator/storage/state_database.h"
#include "fmt/format.h"
#include "privacy/identity/expiry_watch.h"
#include "privacy/identity/signing_roster.h"
#include "rpc/channel.h"

namespace fedtune {
namespace {

// How long transfers may go on; the rest of the 30 seconds is for what is being
// stored.
constexpr absl::Duration kTransfersMayTake = absl::Seconds(20);
constexpr absl::Duration kAllMayTake = absl::Seconds(30);

constexpr absl::Duration kTrimsHeap = absl::Minutes(1);
constexpr absl::Duration kLooksAtClock = absl::Milliseconds(500);

// For the threads and what they need to begin with, in bytes.
constexpr uint64_t kLeastAddressSpace = 400'000'000;

// Why the database is lost, if it is: that ends the program. Thread-safe.
class LostStore {
 public:
  void Tell(const absl::Status& why) {
    const std::lock_guard lock(mutex_);
    why_ = why;
    EndSignals::Raise();
  }

  absl::Status why() const {
    const std::lock_guard lock(mutex_);
    return why_;
  }

 private:
  mutable std::mutex mutex_;
  absl::Status why_;
};

// A coordinator without a roster can still do plain runs. One that has a wrong
// roster does not start: every client would refuse it.
absl::StatusOr<std::shared_ptr<const SigningRoster>> LoadSigningRoster(
    const CoordinatorConfig& config, absl::Time now, Log& log) {
  if (config.signing_roster.empty()) return nullptr;
  absl::StatusOr<SigningRoster> roster =
      SigningRoster::Load(config.signing_roster, config.credentials.authority, now);
  if (!roster.ok()) return OfNamedFile(Annotate(roster.status(), "signing_roster"));
  log.Info("signing roster",
           {Field("version", roster->version()), Field("institutions", roster->entries().size())});
  return std::make_shared<const SigningRoster>(*std::move(roster));
}

// Who starts it by hand, to see why it does not start, is often root: the adapters that
// root writes the coordinator's user cannot read. Not refused, as a file server may give
// what root makes to another.
void WarnOfAnothersFiles(const std::filesystem::path& state, Log& log) {
  const std::filesystem::path database = state / kDatabaseName;
  std::error_code ignored;
  if (!std::filesystem::exists(database, ignored)) return;
  const absl::Status own = CheckIsNotAnothers(database, ::geteuid());
  if (!own.ok()) log.Warning("files of another user", {Field("why", Message(own))});
}

// Until a signal or the loss of the store, and then to the end of what is under way.
absl::Status RunToTheEnd(Server& server, std::optional<BackupSchedule>& backups,
                         const EndSignals& signals, const LostStore& lost, Log& log) {
  const std::string signal = signals.Wait();
  const absl::Status why = lost.why();
  if (why.ok()) {
    log.Info("coordinator stops", {Field("signal", signal)});
  } else {
    log.Error("the database is lost", {Field("why", Message(why))});
  }
  const LastMoments moments(signals, kAllMayTake, [&](const std::string& why_now) {
    const absl::Status lost_now = lost.why();
    log.Warning("coordinator ends at once",
                {Field("why", lost_now.ok() ? why_now : Message(lost_now))});
    std::_Exit(static_cast<int>(ExitCode::kFailed));
  });
  server.Shutdown(why.ok() ? kTransfersMayTake : absl::ZeroDuration());
  backups.reset();
  if (!why.ok()) return WithExitCode(why, ExitCode::kFailed);
  log.Info("coordinator has stopped");
  return absl::OkStatus();
}

absl::Status Serve(const ServeOptions& options) {
  RequireAddressSpace(kLeastAddressSpace);
  const EndSignals signals;
  AllowManyFiles();
  SetUpRpcLibrary();
  ASSIGN_OR_RETURN(const CoordinatorConfig config,
                   LoadCoordinatorConfig(options.file, options.flags));
  ASSIGN_OR_RETURN(const DirectoryLock lock, DirectoryLock::Take(config.state_dir));
  const SystemClock system_clock;
  Log log(config.log_format);
  const RunningClock clock(system_clock, kLooksAtClock, log);
  WarnOfAnothersFiles(config.state_dir, log);
  // Before the roster, which the authority's certificate is needed for: a folder that was
  // restored has none of them.
  RETURN_IF_ERROR(LoadCredentials(config.credentials, Role::kCoordinator, clock.Now()).status());
  const ExpiryWatch expiry_watch(config.credentials, /*other_side=*/nullptr, clock, log);
  ASSIGN_OR_RETURN(std::shared_ptr<const SigningRoster> signing_roster,
                   LoadSigningRoster(config, clock.Now(), log));
  ASSIGN_OR_RETURN(const auto upgrade,
                   BackUpBeforeUpgrade(config.state_dir, config.backup_dir, clock.Now()));
  if (upgrade.has_value()) {
    log.Info("backup made before the upgrade", {Field("path", upgrade->string())});
  }
  const HeapTrimmer trimmer(kTrimsHeap);
  LostStore lost;
  ASSIGN_OR_RETURN(
      const std::unique_ptr<Server> server,
      Server::Start({.listen = config.listen,
                     .credentials = config.credentials,
                     .state_directory = config.state_dir,
                     .keep_adapters = config.keep_adapters,
                     .connections_per_address = config.connections_per_address,
                     .signing_roster = std::move(signing_roster),
                     .revocation_list = config.revocation_list,
                     .on_store_lost = [&lost](const absl::Status& why) { lost.Tell(why); }},
                    clock, log));
  const std::string host = ParseHostAndPort(config.listen)->host;
  log.Info("coordinator started", {Field("federation", server->federation()), Field("host", host),
                                   Field("port", server->port())});
  fmt::print("listening on {}\n",
             ToString({.host = host, .port = static_cast<uint16_t>(server->port())}));
  std::fflush(stdout);
  std::optional<BackupSchedule> backups;
  if (config.backup_minutes > 0) {
    backups.emplace(BackupSchedule::Options{.state = config.state_dir,
                                            .backups = config.backup_dir,
                                            .every = absl::Minutes(config.backup_minutes),
                                            .keep = config.keep_backups},
                    clock, log);
  }
  return RunToTheEnd(*server, backups, signals, lost, log);
}

}  // namespace

void AddServe(CommandLine& line, ServeOptions& options) {
  CoordinatorFlags& flags = options.flags;
  CLI::App& serve =
      line.Add({"serve",
                "Runs the coordinator until SIGTERM or SIGINT; a second one ends it at once.",
                {"fedtune-coordinator serve --config /etc/fedtune/coordinator.toml",
                 "fedtune-coordinator serve --state-dir ./coordinator",
                 "fedtune-coordinator serve --config c.toml --listen 0.0.0.0:8443"}},
               [&] { return Serve(options); });
  serve.add_option("--config", options.file, "coordinator.toml; each of its keys is a flag, too");
  serve.add_option("--listen", flags.listen, "host:port to listen on (0.0.0.0:7443)");
  serve.add_option("--state-dir", flags.state_dir, "Where runs and adapters are kept");
  serve.add_option("--certificate", flags.certificate,
                   "The coordinator's certificate (keys/certificate.pem in the state directory)");
  serve.add_option("--key", flags.key, "Its private key (keys/key.pem)");
  serve.add_option("--authority", flags.authority,
                   "The certificate of the federation's authority (keys/authority.pem)");
  serve.add_option("--signing-roster", flags.signing_roster,
                   "The institutions' signing keys, from the authority's custodian");
  serve.add_option("--revocation-list", flags.revocation_list,
                   "The certificates that the custodian has revoked; read anew while it runs");
  serve.add_option("--keep-adapters", flags.keep_adapters,
                   "How many of a run's newest adapters are kept (3), besides what late clients "
                   "start from");
  serve.add_option("--backup-dir", flags.backup_dir,
                   "The folder of backups (backups in the state directory)");
  serve.add_option("--backup-minutes", flags.backup_minutes,
                   "From one backup to the next (60); 0: none are made");
  serve.add_option("--keep-backups", flags.keep_backups, "How many backups are kept (24)");
  serve.add_option("--connections-per-address", flags.connections_per_address,
                   "How many new connections one address may open within 10 seconds (256); more "
                   "where all clients come through one proxy");
  serve.add_option("--log-format", flags.log_format, "text or json");
}

}  // namespace fedtune
