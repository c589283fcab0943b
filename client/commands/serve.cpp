// SPDX-License-Identifier: Apache-2.0

#include "client/commands/serve.h"

#include <filesystem>
#include <utility>

#include "base/logging.h"
#include "base/status_macros.h"
#include "client/commands/device.h"
#include "client/commands/records.h"
#include "client/commands/site.h"
#include "client/commands/stop_signals.h"
#include "client/round/client_daemon.h"
#include "client/round/local_workshop.h"
#include "client/transport/coordinator_client.h"
#include "rpc/channel.h"

namespace fedtune {
namespace {

TrainerOpener OpenerOf(const ClientConfig& config, const TrainerFactory& open_trainer, Log& log) {
  return [&config, &open_trainer, &log](const std::filesystem::path& base_model) {
    log.Info("loading base model", {Field("path", base_model.string())});
    return open_trainer({.model_directory = base_model,
                         .device = config.device,
                         .threads = static_cast<int>(config.threads)});
  };
}

ReportTaker ReporterTo(Log& log) {
  return [&log](const std::filesystem::path& file, const DatasetReport& report) {
    log.Info("data set read", {Field("report", Describe(report, file.string()))});
  };
}

}  // namespace

absl::Status Serve(const ConfigSource& source, const TrainerFactory& open_trainer,
                   const Clock& clock) {
  const StopSignals signals;
  ASSIGN_OR_RETURN(const ClientConfig config, source.Load());
  ASSIGN_OR_RETURN(Policy policy, LoadPolicy(config));
  ASSIGN_OR_RETURN(const Credentials credentials, LoadClientCredentials(config, clock.Now()));
  ASSIGN_OR_RETURN(std::vector<DatasetSize> datasets, CountRecords(config));
  SilenceRpcLibrary();
  Log log(config.log_format);

  const Hours hours = policy.hours;
  BaseModelShelf shelf(config.base_models);
  LocalWorkshop workshop({.institution = config.institution,
                          .policy = std::move(policy),
                          .base_models = shelf,
                          .load_records = LoaderOf(config.datasets, ReporterTo(log))},
                         OpenerOf(config, open_trainer, log));
  ClientDaemon daemon(
      {.hours = hours, .zone = absl::LocalTimeZone(), .address = config.coordinator}, workshop,
      clock, log);
  log.Info("client started",
           {Field("institution", config.institution), Field("coordinator", config.coordinator)});
  {
    CoordinatorClient link({.address = config.coordinator,
                            .files = config.credentials,
                            .federation = credentials.certificate.identity.federation},
                           {.client_version = FEDTUNE_VERSION,
                            .device = DescribeDevice(config),
                            .datasets = std::move(datasets)},
                           daemon);
    daemon.Run(link, signals.token());
  }
  log.Info("client stopped");
  return absl::OkStatus();
}

}  // namespace fedtune
