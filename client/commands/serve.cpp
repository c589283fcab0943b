// SPDX-License-Identifier: Apache-2.0

#include "client/commands/serve.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include "base/directory_lock.h"
#include "base/exhaustion.h"
#include "base/logging.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "client/commands/client_end.h"
#include "client/commands/device.h"
#include "client/commands/device_loss.h"
#include "client/commands/records.h"
#include "client/commands/remembered_gpu.h"
#include "client/commands/site.h"
#include "client/commands/stop_signals.h"
#include "client/commands/work_log.h"
#include "client/round/client_daemon.h"
#include "client/round/local_workshop.h"
#include "client/round/log_witness.h"
#include "client/round/round_keeper.h"
#include "client/round/secure_membership.h"
#include "client/storage/session_journal.h"
#include "client/transport/coordinator_client.h"
#include "privacy/identity/expiry_watch.h"
#include "privacy/identity/revocation_watch.h"
#include "rpc/channel.h"

namespace fedtune {
namespace {

// For LibTorch and the threads, before any model, in bytes.
constexpr uint64_t kLeastAddressSpace = 1'000'000'000;

absl::StatusOr<ComputeDevice> ChooseDevice(const ClientConfig& config,
                                           const TrainerFactory& trainers, Log& log) {
  ASSIGN_OR_RETURN(ComputeDevice device, trainers.choose_device(config.device));
  if (device.is_fallback()) {
    log.Warning("the GPU is not used; training on the CPU", {Field("reason", device.remark())});
  } else {
    log.Info("device chosen", {Field("device", Describe(device))});
  }
  if (const ThreadCount threads = ThreadsFor(config.threads); !threads.remark.empty()) {
    log.Warning("fewer threads than configured", {Field("reason", threads.remark)});
  }
  return device;
}

// A GPU that is lost may take its driver's word with it.
void TellOfMissedGpu(const ClientConfig& config, const ComputeDevice& device, Log& log) {
  if (const auto missed = MissedGpu(config, device)) {
    log.Warning("the GPU of an earlier start is not found; training on the CPU",
                {Field("gpu", *missed), Field("reason", device.remark()),
                 Field("remedy",
                       "mend it and restart the client; where it is gone for good, say "
                       "kind = \"cpu\" in [device]")});
  }
  RememberGpu(config.state_dir, device, log);
}

TrainerOpener OpenerOf(const ComputeDevice& device, const ClientConfig& config,
                       const TrainerFactory& trainers, ClientEnd& end, Log& log) {
  return [&device, &config, &trainers, &end, &log](const std::filesystem::path& base_model) {
    log.Info("loading base model", {Field("path", base_model.string())});
    return EndingWithDevice(trainers.open({.model_directory = base_model,
                                           .device = device,
                                           .threads = ThreadsFor(config.threads).count}),
                            end);
  };
}

// Without a signing key plain runs are served all the same, and secure ones
// declined with the reason.
MembershipSource MembershipOf(const ClientConfig& config, const Clock& clock, Log& log) {
  MembershipSource source{.institution = config.institution,
                          .key = absl::InternalError("not read yet"),
                          .authority = config.credentials.authority,
                          .seen_roster = SeenRosterFile(config)};
  absl::StatusOr<SigningCredentials> signer = LoadClientSigner(config, clock.Now());
  if (signer.ok()) {
    source.key = std::make_shared<const SigningKey>(std::move(signer->key));
  } else {
    source.key = signer.status();
    log.Warning("no signing key; secure runs are declined",
                {Field("reason", Message(signer.status()))});
  }
  return source;
}

absl::StatusOr<std::optional<SessionJournal>> OpenJournal(const ClientConfig& config,
                                                          const MembershipSource& source,
                                                          ClientEnd& end) {
  if (!source.key.ok()) return std::nullopt;
  ASSIGN_OR_RETURN(SessionJournal journal,
                   SessionJournal::Open(SessionJournalFile(config), **source.key));
  journal.OnEnd([&end](const absl::Status& why) {
    end.Fail(Annotate(why, "the journal of secure aggregations is lost"));
  });
  return std::optional(std::move(journal));
}

// Without a place for them rounds are worked out all the same.
std::optional<RoundKeeper> OpenKeeper(const ClientConfig& config, const Credentials& credentials,
                                      const Clock& clock, Log& log) {
  absl::StatusOr<RoundKeeper> keeper =
      RoundKeeper::Open({.directory = RoundFolder(config),
                         .key = RoundKey(credentials),
                         .interval = absl::Seconds(config.checkpoint_seconds)},
                        clock, log);
  if (keeper.ok()) return *std::move(keeper);
  log.Warning("rounds' work cannot be stored; it is lost if this client is killed",
              {Field("reason", Message(keeper.status()))});
  return std::nullopt;
}

// Those that are not there now may be on a disk that comes later.
void WarnOfMissingBaseModels(const ClientConfig& config, Log& log) {
  if (config.base_models.empty()) {
    log.Warning("no base model is configured; every run is declined",
                {Field("remedy", "put its folder into base_models")});
  }
  for (const std::filesystem::path& folder : config.base_models) {
    const absl::Status found = DescribeBaseModel(folder).status();
    if (found.ok()) continue;
    log.Warning("a base model cannot be read; runs that need it are declined",
                {Field("path", folder.string()), Field("reason", Message(found))});
  }
}

RosterJoiner JoinerOf(const MembershipSource& membership, const Clock& clock) {
  return [&membership, &clock](std::string_view roster, CipherSuite suite) {
    return JoinSecureRun(membership, roster, suite, clock.Now());
  };
}

ReportTaker ReporterTo(Log& log) {
  return [&log](const std::filesystem::path& file, const DatasetReport& report) {
    log.Info("data set read", {Field("report", Describe(report, file.string()))});
  };
}

MemoryObserver MemoryTo(Log& log) {
  return [&log](const std::string& run, const MemoryFit& fit) {
    log.Info("memory forecast", {Field("run", run), Field("training", Describe(fit)),
                                 Field("recomputed_layers", fit.recomputed_layers)});
  };
}

RefusalObserver RefusalsTo(Log& log) {
  return [&log](const std::string& run, const absl::Status& why) {
    log.Warning("what the coordinator is told only in part",
                {Field("run", run), Field("reason", Message(why))});
  };
}

// Its line to the coordinator ends with it.
void RunUntil(const ClientEnd& end, ClientDaemon& daemon, const ChannelOptions& coordinator,
              Greeting greeting, Log& log) {
  CoordinatorClient link(coordinator, std::move(greeting), daemon);
  std::optional<RevocationWatch> watch;
  if (coordinator.revocations != nullptr) {
    watch.emplace(coordinator.revocations, log, [&link] { link.HeedRevocations(); });
  }
  daemon.Run(link, end.token());
}

}  // namespace

absl::Status Serve(const ConfigSource& source, const TrainerFactory& trainers, const Clock& clock) {
  RequireAddressSpace(kLeastAddressSpace);
  ASSIGN_OR_RETURN(const ClientConfig config, source.Load());
  ASSIGN_OR_RETURN(Policy policy, LoadPolicy(config));
  ASSIGN_OR_RETURN(const Credentials credentials, LoadClientCredentials(config, clock.Now()));
  ASSIGN_OR_RETURN(const std::shared_ptr<Revocations> revocations,
                   Revocations::Open(config.revocation_list, config.credentials.authority,
                                     config.state_dir / kKeptRevocationList));
  SetUpRpcLibrary();
  Log log(config.log_format);
  const ObserverOfFile observer_of = [&](const std::filesystem::path& file) {
    return LogReading(file, clock, log);
  };
  ASSIGN_OR_RETURN(std::vector<DatasetSize> datasets, CountRecords(config, observer_of));
  // Until here they end it at once: nothing is stored yet, and there may be much to read.
  const StopSignals signals;
  ASSIGN_OR_RETURN(const ComputeDevice device, ChooseDevice(config, trainers, log));
  WarnOfMissingBaseModels(config, log);

  const auto coordinator = std::make_shared<SeenCertificate>();
  const ExpiryWatch expiry_watch(config.credentials, coordinator, clock, log);

  MembershipSource membership = MembershipOf(config, clock, log);
  ASSIGN_OR_RETURN(membership.federation_key, LoadFederationKey(config));
  // The state directory is written to from here on.
  ASSIGN_OR_RETURN(const DirectoryLock lock, DirectoryLock::Take(config.state_dir));
  TellOfMissedGpu(config, device, log);
  ClientEnd end(signals.token());
  ASSIGN_OR_RETURN(std::optional<SessionJournal> journal, OpenJournal(config, membership, end));
  std::optional<RoundKeeper> keeper = OpenKeeper(config, credentials, clock, log);

  const Hours hours = policy.hours;
  HideSizes(policy, datasets);
  BaseModelShelf shelf(config.base_models, [&](const std::filesystem::path& directory) {
    return LogModelReading(directory, clock, log);
  });
  LogWitness witness(SeenLogOf(config), clock, log);
  LocalWorkshop workshop({.institution = config.institution,
                          .policy = std::move(policy),
                          .base_models = shelf,
                          .load_records = LoaderOf(config.datasets, ReporterTo(log), observer_of),
                          .join_secure_run = JoinerOf(membership, clock),
                          .memory = BudgetOf(device, config.recompute, config.memory_gb),
                          .trains_on_gpu = device.is_gpu(),
                          .observe_memory = MemoryTo(log),
                          .observe_refusal = RefusalsTo(log),
                          .observe_work = WorkTo(clock, log),
                          .log_witness = &witness},
                         OpenerOf(device, config, trainers, end, log), std::move(journal),
                         std::move(keeper));
  ClientDaemon daemon({.hours = hours,
                       .zone = absl::LocalTimeZone(),
                       .address = config.coordinator,
                       .local_names = LocalNamesOf(config)},
                      workshop, clock, log);
  log.Info("client started",
           {Field("institution", config.institution), Field("coordinator", config.coordinator)});
  RunUntil(end, daemon,
           {.address = config.coordinator,
            .files = config.credentials,
            .federation = credentials.certificate.identity.federation,
            .coordinator = coordinator,
            .revocations = revocations},
           {.client_version = FEDTUNE_VERSION,
            .device = DescribeDevice(device, config.threads),
            .datasets = std::move(datasets)},
           log);
  log.Info("client stopped");
  return end.status();
}

}  // namespace fedtune
