// SPDX-License-Identifier: Apache-2.0

#include "client/commands/check.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_replace.h"
#include "base/directory_lock.h"
#include "base/exit_code.h"
#include "base/files.h"
#include "base/json.h"
#include "base/printable_text.h"
#include "base/progress.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "base/waiting_note.h"
#include "client/commands/device.h"
#include "client/commands/records.h"
#include "client/commands/remembered_gpu.h"
#include "client/commands/site.h"
#include "client/data/dataset.h"
#include "client/round/base_model_shelf.h"
#include "client/round/secure_membership.h"
#include "client/round/seen_log.h"
#include "client/transport/coordinator_client.h"
#include "fmt/format.h"
#include "plan/base_model_digest.h"
#include "privacy/identity/expiry.h"
#include "privacy/identity/revocations.h"
#include "privacy/identity/seen_certificate.h"
#include "privacy/identity/signing_roster.h"
#include "rpc/channel.h"

namespace fedtune {
namespace {

constexpr absl::Duration kProbeTimeout = absl::Seconds(10);

CheckResult ResultOf(std::string what, const absl::StatusOr<std::string>& detail) {
  return {.what = std::move(what),
          .status = detail.status(),
          .detail = detail.ok() ? *detail : std::string()};
}

// The one that a running client computes on, as it says at its start.
std::optional<std::string> GpuInUse(const ClientConfig& config) {
  if (config.device == "cpu" || !DirectoryLock::IsTaken(config.state_dir)) return std::nullopt;
  return RememberedGpu(config.state_dir);
}

absl::StatusOr<std::string> CheckPolicy(const ClientConfig& config) {
  ASSIGN_OR_RETURN(const Policy policy, LoadPolicy(config));
  if (config.policy.empty()) return "none: every run on the base models below is allowed";
  return fmt::format("{}, hours {}", config.policy.string(), policy.hours.ToString());
}

absl::StatusOr<std::string> CheckCertificateFiles(const ClientConfig& config, const Clock& clock) {
  ASSIGN_OR_RETURN(const Credentials credentials, LoadClientCredentials(config, clock.Now()));
  const Certificate& certificate = credentials.certificate;
  std::string text =
      fmt::format("{}, until {}", Describe(certificate.identity),
                  absl::FormatTime("%Y-%m-%d", certificate.not_after, absl::UTCTimeZone()));
  for (const Expiry& expiry : ExpiringSoon(config.credentials, clock.Now())) {
    text += "\n" + Describe(expiry, clock.Now());
  }
  return text;
}

// On the roster that we have seen last; a new client has seen none.
absl::StatusOr<std::string> CheckSigningKey(const ClientConfig& config, const Clock& clock) {
  ASSIGN_OR_RETURN(const SigningCredentials signer, LoadClientSigner(config, clock.Now()));
  const std::string text =
      fmt::format("{}, until {}", SigningSuiteName(signer.key.suite()),
                  absl::FormatTime("%Y-%m-%d", signer.certificate.not_after, absl::UTCTimeZone()));
  ASSIGN_OR_RETURN(const std::string authority, ReadFile(config.credentials.authority));
  ASSIGN_OR_RETURN(const std::optional<SigningRoster> roster,
                   LoadSeenRoster(SeenRosterFile(config), authority, clock.Now()));
  if (!roster.has_value()) {
    return fmt::format("{}; the coordinator has sent no roster yet", text);
  }
  RETURN_IF_ERROR(roster->CheckLists(config.institution, signer.key));
  return fmt::format("{}; number {} on the roster of version {}", text,
                     roster->Find(config.institution)->number, roster->version());
}

// What the client goes by when it next looks at the coordinator's log.
absl::StatusOr<std::string> CheckLog(const ClientConfig& config) {
  const SeenLog log = SeenLogOf(config);
  ASSIGN_OR_RETURN(const std::optional<KeptCheckpoint> seen, log.Believed());
  const absl::StatusOr<std::optional<KeptCheckpoint>> refused = log.Refused();
  RETURN_IF_ERROR(refused.status());
  if (refused->has_value()) {
    return absl::FailedPreconditionError(
        fmt::format("the coordinator shows another log than it did ({} entries, of {} that were "
                    "seen): its runs are declined; fedtune-client log show says more",
                    GroupDigits((*refused)->checkpoint.head.size),
                    seen.has_value() ? GroupDigits(seen->checkpoint.head.size) : "those"));
  }
  if (!seen.has_value()) return "the coordinator has shown none yet";
  return fmt::format("{} entries", GroupDigits(seen->checkpoint.head.size));
}

absl::StatusOr<std::string> CheckRevocationList(const ClientConfig& config, const Clock& clock) {
  ASSIGN_OR_RETURN(const std::shared_ptr<Revocations> revocations,
                   Revocations::Open(config.revocation_list, config.credentials.authority,
                                     config.state_dir / kKeptRevocationList));
  const RevocationList& list = *revocations->list();
  const auto own = LoadClientCredentials(config, clock.Now());
  if (own.ok()) {
    RETURN_IF_ERROR(list.CheckNotRevoked(own->certificate.identity, own->certificate.serial));
  }
  return Describe(list);
}

absl::StatusOr<std::string> CheckFederationKey(const ClientConfig& config) {
  RETURN_IF_ERROR(LoadFederationKey(config).status());
  return config.federation_key.string();
}

absl::StatusOr<std::string> CheckCoordinator(const ClientConfig& config, const Clock& clock) {
  ASSIGN_OR_RETURN(const Credentials credentials, LoadClientCredentials(config, clock.Now()));
  // Where the list is not good its own line says so.
  const auto revocations = Revocations::Open(config.revocation_list, config.credentials.authority);
  const auto coordinator = std::make_shared<SeenCertificate>();
  const WaitingNote note("waiting for " + config.coordinator);
  ASSIGN_OR_RETURN(const absl::Duration answered,
                   ProbeCoordinator({.address = config.coordinator,
                                     .files = config.credentials,
                                     .federation = credentials.certificate.identity.federation,
                                     .coordinator = coordinator,
                                     .revocations = revocations.value_or(nullptr)},
                                    kProbeTimeout));
  std::string text = fmt::format("{}, {}", config.coordinator, HumanDuration(answered));
  if (const auto shown = coordinator->Get()) {
    for (const Expiry& expiry : ExpiringSoon(std::vector{*shown}, clock.Now())) {
      text += "\n" + Describe(expiry, clock.Now());
    }
  }
  return text;
}

absl::StatusOr<std::string> CheckBaseModel(const std::filesystem::path& directory,
                                           const Policy& policy, const Clock& clock) {
  const absl::StatusOr<BaseModelDescription> model = DescribeBaseModel(directory);
  RETURN_IF_ERROR(OfNamedFile(model.status()));
  ProgressLine progress("reading " + model->name, clock);
  ASSIGN_OR_RETURN(const BaseModelDigests digests,
                   DigestBaseModel(directory, [&](double share) { progress.Update(share); }));
  const auto is_allowed = [&](const std::string& digest) {
    return std::ranges::find(policy.base_models, digest) != policy.base_models.end();
  };
  std::string text =
      fmt::format("{} parameters, {}", HumanCount(static_cast<uint64_t>(model->parameter_count)),
                  digests.digest);
  if (policy.base_models.empty() || is_allowed(digests.digest)) return text;
  if (is_allowed(digests.earlier)) {
    return text +
           "; the policy names it by a digest of before, which says nothing of its chat "
           "template: put this one into base_models";
  }
  return absl::PermissionDeniedError(
      fmt::format("{} is not in the policy's base_models: its runs are declined", digests.digest));
}

absl::StatusOr<std::string> CheckDataset(const std::filesystem::path& file, const Clock& clock) {
  const RecordTaker take_any = [](const DatasetRecord&) { return absl::OkStatus(); };
  ProgressLine progress("reading " + file.filename().string(), clock);
  const absl::StatusOr<DatasetReport> report = ReadDataset(file, take_any, ShowOn(progress));
  RETURN_IF_ERROR(OfNamedFile(report.status()));
  return Describe(*report, file.string());
}

void CheckBaseModels(const ClientConfig& config, const Clock& clock,
                     std::vector<CheckResult>& results) {
  const absl::StatusOr<Policy> policy = LoadPolicy(config);
  if (config.base_models.empty()) {
    results.push_back({"base model",
                       absl::NotFoundError("none is configured; put its folder into base_models"),
                       ""});
  }
  for (const std::filesystem::path& directory : config.base_models) {
    results.push_back(ResultOf("base model " + directory.filename().string(),
                               CheckBaseModel(directory, policy.value_or(Policy()), clock)));
  }
}

void CheckDatasets(const ClientConfig& config, const Clock& clock,
                   std::vector<CheckResult>& results) {
  if (config.datasets.empty()) {
    results.push_back({"data set",
                       absl::NotFoundError("none is configured; add [[datasets]] to client.toml"),
                       ""});
  }
  for (const DatasetConfig& dataset : config.datasets) {
    results.push_back(ResultOf("data set " + dataset.name, CheckDataset(dataset.train, clock)));
    if (dataset.eval.empty()) continue;
    results.push_back(ResultOf(fmt::format("data set {} (eval)", dataset.name),
                               CheckDataset(dataset.eval, clock)));
  }
}

// Further lines begin below the first one.
std::string Indented(const std::string& text, size_t columns) {
  const std::string new_line = "\n" + std::string(columns, ' ');
  return absl::StrReplaceAll(text, {{"\n", new_line}});
}

std::string_view Verdict(const absl::Status& status) {
  if (status.ok()) return "ok";
  return absl::IsNotFound(status) ? "missing" : "failed";
}

}  // namespace

absl::Status CheckClient(const CheckOptions& options, const TrainerFactory& trainers,
                         const Clock& clock) {
  ASSIGN_OR_RETURN(const ClientConfig config, options.source.Load());
  SetUpRpcLibrary();
  std::vector<CheckResult> results;
  results.push_back(ResultOf("policy", CheckPolicy(config)));
  results.push_back(ResultOf("certificate", CheckCertificateFiles(config, clock)));
  const bool certified = results.back().status.ok();
  results.push_back(ResultOf("signing key", CheckSigningKey(config, clock)));
  if (!config.revocation_list.empty()) {
    results.push_back(ResultOf("revocation list", CheckRevocationList(config, clock)));
  }
  if (!config.federation_key.empty()) {
    results.push_back(ResultOf("federation key", CheckFederationKey(config)));
  }
  if (certified) {
    results.push_back(ResultOf("coordinator", CheckCoordinator(config, clock)));
  }
  results.push_back(ResultOf("coordinator's log", CheckLog(config)));
  CheckBaseModels(config, clock, results);
  CheckDatasets(config, clock, results);
  results.push_back(ResultOf("device", CheckDevice(config, trainers)));
  fmt::print("{}", PresentChecks(results, options.json));

  return SumOf(results);
}

// A GPU that "auto" has to pass by is a fault: somebody paid for it.
absl::StatusOr<std::string> CheckDevice(const ClientConfig& config,
                                        const TrainerFactory& trainers) {
  if (const auto gpu = GpuInUse(config); gpu.has_value()) {
    return fmt::format("{}; not tested: the client runs, and needs its memory", *gpu);
  }
  ASSIGN_OR_RETURN(const ComputeDevice device, trainers.choose_device(config.device));
  const std::optional<std::string> missed = MissedGpu(config, device);
  if (device.is_fallback() || missed.has_value()) {
    return absl::FailedPreconditionError(
        fmt::format("{}{}; until then the CPU is used, or say \"cpu\"",
                    missed.has_value() ? *missed + " was here before; " : "", device.remark()));
  }
  const ThreadCount threads = ThreadsFor(config.threads);
  const std::string detail =
      Describe(device) + (threads.remark.empty() ? "" : "; " + threads.remark);
  if (config.base_models.empty()) return detail;
  const WaitingNote note("loading " + config.base_models.front().filename().string());
  RETURN_IF_ERROR(trainers
                      .open({.model_directory = config.base_models.front(),
                             .device = device,
                             .threads = threads.count})
                      .status());
  return detail + "; base model loaded";
}

absl::Status SumOf(const std::vector<CheckResult>& results) {
  const auto failed = [](const CheckResult& result) { return !result.status.ok(); };
  const auto first = std::find_if(results.begin(), results.end(), failed);
  if (first == results.end()) return absl::OkStatus();
  const auto count = std::count_if(results.begin(), results.end(), failed);
  return WithExitCode(absl::Status(first->status.code(),
                                   fmt::format("{} of {} checks failed", count, results.size())),
                      static_cast<ExitCode>(ExitCodeFor(first->status)));
}

std::string PresentChecks(const std::vector<CheckResult>& results, bool json) {
  if (json) {
    nlohmann::ordered_json checks = nlohmann::ordered_json::array();
    for (const CheckResult& result : results) {
      const bool ok = result.status.ok();
      checks.push_back({{"what", result.what},
                        {"verdict", Verdict(result.status)},
                        {"detail", ok ? result.detail : std::string(Message(result.status))}});
    }
    return JsonLine({{"checks", std::move(checks)}});
  }
  size_t width = 0;
  for (const CheckResult& result : results) width = std::max(width, result.what.size());
  std::string lines;
  for (const CheckResult& result : results) {
    const std::string_view detail =
        result.status.ok() ? std::string_view(result.detail) : Message(result.status);
    const std::string start =
        fmt::format("  {:<{}}   {:<7}   ", result.what, width, Verdict(result.status));
    lines += start + Indented(PrintableLines(detail), start.size()) + "\n";
  }
  return lines;
}

}  // namespace fedtune
