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

absl::StatusOr<ComputeDevice> ChooseDevice(const ClientConfig& config,
                                           const TrainerFactory& trainers, Log& log) {
  ASSIGN_OR_RETURN(ComputeDevice device, trainers.choose_device(config.device));
  if (device.is_fallback()) {
    log.Warning("the GPU is not used; training on the CPU", {Field("reason", device.remark())});
  } else {
    log.Info("device chosen", {Field("device", Describe(device))});
  }
  return device;
}

TrainerOpener OpenerOf(const ComputeDevice& device, const ClientConfig& config,
                       const TrainerFactory& trainers, Log& log) {
  return [&device, &config, &trainers, &log](const std::filesystem::path& base_model) {
    log.Info("loading base model", {Field("path", base_model.string())});
    return trainers.open({.model_directory = base_model,
                          .device = device,
                          .threads = static_cast<int>(config.threads)});
  };
}

ReportTaker ReporterTo(Log& log) {
  return [&log](const std::filesystem::path& file, const DatasetReport& report) {
    log.Info("data set read", {Field("report", Describe(report, file.string()))});
  };
}

}  // namespace

absl::Status Serve(const ConfigSource& source, const TrainerFactory& trainers, const Clock& clock) {
  const StopSignals signals;
  ASSIGN_OR_RETURN(const ClientConfig config, source.Load());
  ASSIGN_OR_RETURN(Policy policy, LoadPolicy(config));
  ASSIGN_OR_RETURN(const Credentials credentials, LoadClientCredentials(config, clock.Now()));
  ASSIGN_OR_RETURN(std::vector<DatasetSize> datasets, CountRecords(config));
  SilenceRpcLibrary();
  Log log(config.log_format);
  ASSIGN_OR_RETURN(const ComputeDevice device, ChooseDevice(config, trainers, log));

  const Hours hours = policy.hours;
  BaseModelShelf shelf(config.base_models);
  LocalWorkshop workshop({.institution = config.institution,
                          .policy = std::move(policy),
                          .base_models = shelf,
                          .load_records = LoaderOf(config.datasets, ReporterTo(log))},
                         OpenerOf(device, config, trainers, log));
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
                            .device = DescribeDevice(device, config.threads),
                            .datasets = std::move(datasets)},
                           daemon);
    daemon.Run(link, signals.token());
  }
  log.Info("client stopped");
  return absl::OkStatus();
}

}  // namespace fedtune
