// SPDX-License-Identifier: Apache-2.0

#include "bench/transport/echo_federation.h"

#include <fcntl.h>
#include <unistd.h>

#include <condition_variable>
#include <ctime>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/logging.h"
#include "base/status_macros.h"
#include "bench/transport/coordinator_process.h"
#include "bench/transport/echo_workshop.h"
#include "bench/transport/long_line.h"
#include "client/round/client_daemon.h"
#include "client/transport/coordinator_client.h"
#include "fmt/format.h"
#include "model/checkpoint/base_model_description.h"
#include "privacy/crypto/signing_key.h"
#include "privacy/identity/certificate_authority.h"
#include "privacy/identity/signing_roster.h"
#include "proto/fedtune/v1/administration.grpc.pb.h"
#include "rpc/channel.h"
#include "tests/support/temporary_directory.h"

namespace fedtune::bench {
namespace {

// Sends what this process logs to a file for as long as it lives.
class LogInto {
 public:
  explicit LogInto(const std::filesystem::path& file) : before_(::dup(STDERR_FILENO)) {
    const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    ::dup2(fd, STDERR_FILENO);
    ::close(fd);
  }
  LogInto(const LogInto&) = delete;
  LogInto& operator=(const LogInto&) = delete;
  ~LogInto() {
    ::dup2(before_, STDERR_FILENO);
    ::close(before_);
  }

 private:
  const int before_;
};

constexpr char kFederation[] = "bench";
constexpr int64_t kRank = 16;

using SigningKeys = std::vector<std::shared_ptr<const SigningKey>>;  // Of the clients.

std::string ClientName(size_t index) { return fmt::format("site-{}", index); }

// Keys and a certificate in `directory`, from an authority that does not ask.
absl::StatusOr<ChannelOptions> Enrol(const CertificateAuthority& authority,
                                     const std::filesystem::path& directory, Role role,
                                     const std::string& name) {
  const Identity identity{.federation = kFederation, .role = role, .name = name};
  ASSIGN_OR_RETURN(const KeyAndRequest made, MakeKeyAndRequest(directory, identity));
  ASSIGN_OR_RETURN(const std::string text, ReadFile(made.request));
  ASSIGN_OR_RETURN(const CertificateRequest request, CertificateRequest::Parse(text));
  ASSIGN_OR_RETURN(
      const std::string certificate,
      authority.Issue(request, {.identity = identity, .hosts = {}, .valid_for = absl::Hours(2)},
                      absl::Now()));
  const CredentialFiles files = FilesIn(directory);
  RETURN_IF_ERROR(WriteFileAtomically(files.certificate, certificate));
  RETURN_IF_ERROR(WriteFileAtomically(files.authority, authority.ToPem()));
  return ChannelOptions{.address = "", .files = files, .federation = kFederation};
}

// The authority's roster of these keys.
absl::Status WriteRoster(const CertificateAuthority& authority, const SigningKeys& keys,
                         const std::filesystem::path& file) {
  RosterContent content{.federation = kFederation,
                        .version = 1,
                        .signed_at = absl::FromUnixSeconds(absl::ToUnixSeconds(absl::Now())),
                        .entries = {}};
  for (size_t i = 0; i < keys.size(); ++i) {
    content.entries.push_back({.number = static_cast<uint32_t>(i + 1),
                               .institution = ClientName(i),
                               .suite = keys[i]->suite(),
                               .public_key = keys[i]->public_key()});
  }
  ASSIGN_OR_RETURN(const SigningKey signer,
                   SigningKey::ParsePem(authority.key().ToPem().RevealText()));
  ASSIGN_OR_RETURN(const std::string text, SignRoster(content, signer));
  return WriteFileAtomically(file, text);
}

// What the client with this key joins secure runs by, kept in `directory`.
absl::StatusOr<SecureSeat> SeatOf(const std::string& name, std::shared_ptr<const SigningKey> key,
                                  const CertificateAuthority& authority,
                                  const std::filesystem::path& directory) {
  ASSIGN_OR_RETURN(SessionJournal journal,
                   SessionJournal::Open(directory / "sessions.sqlite", *key));
  const std::filesystem::path authority_pem = directory / "authority.pem";
  RETURN_IF_ERROR(WriteFileAtomically(authority_pem, authority.ToPem()));
  return SecureSeat{.source = {.institution = name,
                               .key = std::move(key),
                               .authority = authority_pem,
                               .seen_roster = directory / "roster.json"},
                    .journal = std::move(journal)};
}

// A model whose adapter of rank 16 has the load's size, two tensors a layer.
std::string BaseModelJson(const Load& load) {
  const int64_t layers = std::max<int64_t>(load.tensors / 2, 1);
  const int64_t features = load.megabytes * 1'000'000 / 4 / layers / kRank;
  BaseModelDescription model;
  model.name = "echo";
  model.digest = Sha256Of("echo").ToString();
  model.model_type = "deepseek_v2";
  for (int64_t i = 0; i < layers; ++i) {
    model.linear_layers.push_back({.name = fmt::format("model.layers.{}.self_attn.q_proj", i),
                                   .kind = LayerKind::kAttention,
                                   .in_features = features / 2,
                                   .out_features = features - features / 2});
    model.parameter_count += (features / 2) * (features - features / 2);
  }
  return ToJson(model);
}

std::string SecureToml(const Load& load) {
  if (!load.secure) return "";
  return fmt::format("[secure]\nmin_cohort = {0}\nmax_cohort = {0}\nmax_weight = 1\n",
                     load.clients);
}

// The server's rate is small because an echo would double the adapter.
std::string PlanToml(const Load& load) {
  return fmt::format(R"(name = "echo"
base_model = "echo"
[adapter]
rank = {}
targets = ["q_proj"]
[training]
steps = 1
[rounds]
count = {}
quorum = {}
cohort_size = {}
deadline = "10m"
[aggregation]
mode = "{}"
method = "fedit"
[server]
learning_rate = 0.001
{})",
                     kRank, load.rounds, load.clients, load.clients,
                     load.secure ? "secure" : "plain", SecureToml(load));
}

// Of this process, which is all clients.
absl::Duration OwnCpuTime() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return absl::DurationFromTimespec(time);
}

// When each round was first assigned, and what the coordinator had used by then.
class RoundTimes {
 public:
  explicit RoundTimes(const CoordinatorProcess& coordinator) : coordinator_(coordinator) {}

  void Assigned(int64_t round) {
    const std::lock_guard lock(mutex_);
    if (starts_.contains(round)) return;
    starts_[round] = {absl::Now(), coordinator_.CpuTime().value_or(absl::ZeroDuration()),
                      OwnCpuTime()};
  }

  absl::StatusOr<EchoRounds> Take(int64_t rounds) {
    const std::lock_guard lock(mutex_);
    EchoRounds taken;
    for (int64_t round = 1; round < rounds; ++round) {
      if (!starts_.contains(round) || !starts_.contains(round + 1)) {
        return absl::InternalError(fmt::format("round {} was never assigned", round));
      }
      taken.rounds.push_back(starts_[round + 1].when - starts_[round].when);
    }
    taken.cpu_per_round = (starts_[rounds].cpu - starts_[1].cpu) / (rounds - 1);
    taken.clients_cpu_per_round =
        (starts_[rounds].clients_cpu - starts_[1].clients_cpu) / (rounds - 1);
    return taken;
  }

 private:
  struct Start {
    absl::Time when;
    absl::Duration cpu;
    absl::Duration clients_cpu;
  };
  const CoordinatorProcess& coordinator_;
  std::mutex mutex_;
  std::map<int64_t, Start> starts_;
};

// One client as fedtune-client has it, but for the training.
class EchoClient {
 public:
  EchoClient(const ChannelOptions& options, SecureSeat seat, RoundTimes& times, const Clock& clock,
             Log& log)
      : workshop_([&times](int64_t round) { times.Assigned(round); }, std::move(seat)),
        daemon_({.hours = {}, .zone = absl::UTCTimeZone(), .address = options.address}, workshop_,
                clock, log),
        link_(options, {.client_version = "bench", .device = {}, .datasets = {}}, daemon_),
        thread_([this](std::stop_token stop) { daemon_.Run(link_, std::move(stop)); }) {}

 private:
  EchoWorkshop workshop_;
  ClientDaemon daemon_;
  CoordinatorClient link_;
  std::jthread thread_;
};

absl::Status AwaitClients(v1::Administration::Stub& administrator, int count) {
  for (int tries = 0; tries < 600; ++tries) {
    grpc::ClientContext context;
    v1::ListClientsResponse response;
    RETURN_IF_ERROR(StatusFromRpc(administrator.ListClients(&context, {}, &response)));
    int connected = 0;
    for (const v1::ClientStatus& client : response.clients()) connected += client.connected();
    if (connected == count) return absl::OkStatus();
    absl::SleepFor(absl::Milliseconds(50));
  }
  return absl::DeadlineExceededError("the clients did not connect");
}

// Starts the run and waits for its end.
absl::StatusOr<v1::RunStatus> PerformRun(v1::Administration::Stub& administrator,
                                         const Load& load) {
  v1::StartRunRequest request;
  request.set_request_id("bench");
  request.set_plan_toml(PlanToml(load));
  request.set_base_model_json(BaseModelJson(load));
  v1::StartRunResponse started;
  grpc::ClientContext starting;
  RETURN_IF_ERROR(StatusFromRpc(administrator.StartRun(&starting, request, &started)));
  v1::WatchRunRequest watch;
  watch.set_run_id(started.run().run_id());
  grpc::ClientContext watching;
  const auto reader = administrator.WatchRun(&watching, watch);
  v1::RunStatus status;
  while (reader->Read(&status)) {
  }
  RETURN_IF_ERROR(StatusFromRpc(reader->Finish()));
  if (status.state() == v1::RunStatus::STATE_FINISHED) return status;
  return absl::InternalError(fmt::format("the run ended early: {}", status.reason()));
}

}  // namespace

absl::StatusOr<EchoRounds> RunEchoFederation(const std::filesystem::path& program,
                                             const Load& load) {
  const testing::TemporaryDirectory directory;
  ASSIGN_OR_RETURN(const CertificateAuthority authority,
                   CertificateAuthority::Create(kFederation, absl::Hours(48), absl::Now()));
  const std::filesystem::path state = directory.path() / "coordinator";
  RETURN_IF_ERROR(Enrol(authority, state / "keys", Role::kCoordinator, "hub").status());
  SigningKeys keys;
  for (int i = 0; i < load.clients + load.idle; ++i) {
    keys.push_back(
        std::make_shared<const SigningKey>(SigningKey::Generate(CipherSuite::kCurve25519)));
  }
  RETURN_IF_ERROR(WriteRoster(authority, keys, CoordinatorProcess::RosterIn(state)));
  ASSIGN_OR_RETURN(const std::unique_ptr<CoordinatorProcess> coordinator,
                   CoordinatorProcess::Start(program, state));
  std::optional<LongLine> line;
  if (load.delay > absl::ZeroDuration()) line.emplace(coordinator->port(), load.delay);
  const std::string address =
      fmt::format("127.0.0.1:{}", line.has_value() ? line->port() : coordinator->port());

  const LogInto log_file(directory.path() / "clients.log");
  RoundTimes times(*coordinator);
  const SystemClock clock;
  Log log;
  std::vector<std::unique_ptr<EchoClient>> clients;
  for (size_t i = 0; i < keys.size(); ++i) {
    const std::string name = ClientName(i);
    ASSIGN_OR_RETURN(ChannelOptions options,
                     Enrol(authority, directory.path() / name, Role::kClient, name));
    options.address = address;
    ASSIGN_OR_RETURN(SecureSeat seat, SeatOf(name, keys[i], authority, directory.path() / name));
    clients.push_back(std::make_unique<EchoClient>(options, std::move(seat), times, clock, log));
  }
  ASSIGN_OR_RETURN(ChannelOptions options,
                   Enrol(authority, directory.path() / "grace", Role::kAdministrator, "grace"));
  options.address = address;
  const auto administrator = v1::Administration::NewStub(OpenChannel(options));
  RETURN_IF_ERROR(AwaitClients(*administrator, load.clients + load.idle));
  ASSIGN_OR_RETURN(const v1::RunStatus status, PerformRun(*administrator, load));

  ASSIGN_OR_RETURN(EchoRounds rounds, times.Take(load.rounds));
  ASSIGN_OR_RETURN(rounds.peak_memory, coordinator->PeakMemory());
  rounds.adapter_bytes = status.adapter_bytes();
  return rounds;
}

}  // namespace fedtune::bench
