// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/server.h"

#include <chrono>
#include <filesystem>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/status_macros.h"
#include "coordinator/driver/driver.h"
#include "coordinator/driver/timer_queue.h"
#include "coordinator/rpc/administration_service.h"
#include "coordinator/rpc/caller.h"
#include "coordinator/rpc/checkpoint_signer.h"
#include "coordinator/rpc/listening.h"
#include "coordinator/rpc/log_answers.h"
#include "coordinator/rpc/open_streams.h"
#include "coordinator/rpc/training_service.h"
#include "coordinator/storage/audit_log.h"
#include "coordinator/storage/lost_database.h"
#include "coordinator/storage/spool.h"
#include "coordinator/storage/sqlite_federation_store.h"
#include "coordinator/storage/sqlite_run_store.h"
#include "coordinator/storage/state_check.h"
#include "coordinator/storage/state_database.h"

namespace fedtune {

// In the order in which they need each other.
struct Server::Parts {
  Parts(std::string federation_name, CheckpointSigner checkpoint_signer,
        const std::shared_ptr<StateDatabase>& state, std::unique_ptr<SqliteRunStore> run_store,
        std::shared_ptr<const SigningRoster> signing_roster,
        std::shared_ptr<const Revocations> revocations, Spool opened_spool, const Clock& clock,
        Log& log)
      : federation(std::move(federation_name)),
        spool(std::move(opened_spool)),
        runs_stored(std::move(run_store)),
        federation_stored(std::make_unique<SqliteFederationStore>(state)),
        log_stored(state),
        signer(std::move(checkpoint_signer)),
        log_answers(log_stored, signer),
        driver({.run_store = *runs_stored,
                .federation_store = *federation_stored,
                .spool = spool,
                .signing_roster = std::move(signing_roster),
                .clock = clock,
                .log = log},
               ActiveRuns::Threads(clock)),
        callers(federation, std::move(revocations), clock, log),
        upload_timers(clock),
        training_service({.gateway = driver.gateway,
                          .uploads = uploads,
                          .timers = upload_timers,
                          .clock = clock},
                         callers, streams, log_answers),
        administration_service({.runs = driver.administration,
                                .blobs = driver.gateway,
                                .callers = callers,
                                .streams = streams,
                                .log = log_answers}) {}

  const std::string federation;
  const Spool spool;
  const std::unique_ptr<SqliteRunStore> runs_stored;
  const std::unique_ptr<SqliteFederationStore> federation_stored;
  const AuditLog log_stored;
  CheckpointSigner signer;
  const LogAnswers log_answers;
  Driver driver;
  const CallerCheck callers;
  OpenStreams streams;
  OpenUploads uploads;
  ThreadedTimerQueue upload_timers;
  TrainingService training_service;
  AdministrationService administration_service;
  Listening listening;
  std::optional<RevocationWatch> revocation_watch;
  std::once_flag shut_down;
};

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Server::~Server() { Shutdown(); }

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const Options& options, const Clock& clock,
                                                      Log& log) {
  ASSIGN_OR_RETURN(const Credentials credentials,
                   LoadCredentials(options.credentials, Role::kCoordinator, clock.Now()));
  ASSIGN_OR_RETURN(const std::shared_ptr<Revocations> revocations,
                   Revocations::Open(options.revocation_list, options.credentials.authority,
                                     options.state_directory / kKeptRevocationList));
  if (revocations != nullptr) {
    RETURN_IF_ERROR(revocations->CheckNotRevoked(credentials.certificate));
  }
  ASSIGN_OR_RETURN(CheckpointSigner signer,
                   CheckpointSigner::Open(options.credentials, options.reload_interval, clock));
  RETURN_IF_ERROR(MakeDirectories(options.state_directory));
  RETURN_IF_ERROR(CheckHasNotLostItsDatabase(options.state_directory));
  ASSIGN_OR_RETURN(
      const std::shared_ptr<StateDatabase> state,
      OpenStateDatabase(options.state_directory / kDatabaseName, options.on_store_lost));
  RETURN_IF_ERROR(CheckHasItsBlobs(options.state_directory, state->connection));
  ASSIGN_OR_RETURN(std::unique_ptr<SqliteRunStore> run_store,
                   SqliteRunStore::Open(state, {.blobs = options.state_directory / kBlobsName,
                                                .keep_adapters = options.keep_adapters,
                                                .clock = &clock}));
  ASSIGN_OR_RETURN(Spool spool, Spool::Open(options.state_directory / kSpoolName));
  auto parts = std::make_unique<Parts>(
      credentials.certificate.identity.federation, std::move(signer), state, std::move(run_store),
      options.signing_roster, revocations, std::move(spool), clock, log);
  std::unique_ptr<Server> server(new Server(std::move(parts)));
  Parts& p = *server->parts_;
  RETURN_IF_ERROR(p.driver.runs.ResumeAll());
  ASSIGN_OR_RETURN(p.listening, Listen({.address = options.listen,
                                        .credentials = options.credentials,
                                        .reload_interval = options.reload_interval,
                                        .connections_per_address = options.connections_per_address},
                                       {&p.training_service, &p.administration_service}, log));
  if (revocations != nullptr) {
    p.revocation_watch.emplace(
        revocations, log, [&p] { p.callers.EndRevoked(); }, options.revocation_interval);
  }
  return server;
}

int Server::port() const { return parts_->listening.acceptor->port(); }

const std::string& Server::federation() const { return parts_->federation; }

void Server::Shutdown(absl::Duration patience) {
  std::call_once(parts_->shut_down, [this, patience] {
    const absl::Status reason = absl::UnavailableError("the coordinator is shutting down");
    parts_->driver.lines.CloseAll(reason);
    parts_->streams.CloseAll(reason);
    parts_->listening.acceptor.reset();
    if (parts_->listening.server != nullptr) {
      parts_->listening.server->Shutdown(std::chrono::system_clock::now() +
                                         absl::ToChronoMilliseconds(patience));
    }
    parts_->driver.runs.Shutdown();
  });
}

}  // namespace fedtune
