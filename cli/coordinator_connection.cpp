// SPDX-License-Identifier: Apache-2.0

#include "cli/coordinator_connection.h"

#include <grpcpp/client_context.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/exhaustion.h"
#include "base/host_and_port.h"
#include "base/printable_text.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "base/waiting_note.h"
#include "cli/answered_run.h"
#include "cli/asked_again.h"
#include "cli/persistence.h"
#include "cli/printable_message.h"
#include "fmt/format.h"
#include "privacy/identity/expiry.h"
#include "privacy/identity/key_directory.h"
#include "privacy/identity/revocations.h"
#include "rpc/channel.h"

namespace fedtune {
namespace {

constexpr std::chrono::seconds kCallTimeout(60);

// For the RPC library's threads, in bytes.
constexpr uint64_t kLeastAddressSpace = 200'000'000;

// A run's every round comes with the tokens that each expert had: 44 kB a round of V3.
constexpr int kMostMessageBytes = 1 << 30;

// A call that does not wait for ever, nor in silence.
class BoundedContext : public grpc::ClientContext {
 public:
  explicit BoundedContext(const std::string& address) : note_("waiting for " + address) {
    set_deadline(std::chrono::system_clock::now() + kCallTimeout);
  }

 private:
  const WaitingNote note_;
};

template <typename Request>
Request OfRun(const std::string& run_id) {
  Request request;
  request.set_run_id(PrintableText(run_id));
  return request;
}

template <typename Request>
Request OfRun(const std::string& run_id, const std::string& reason) {
  auto request = OfRun<Request>(run_id);
  request.set_reason(PrintableText(reason));
  return request;
}

template <typename Response>
absl::StatusOr<Response> Printable(absl::StatusOr<Response> response) {
  if (response.ok()) MakePrintable(*response);
  return response;
}

template <typename Response>
absl::StatusOr<v1::RunStatus> RunIn(absl::StatusOr<Response> response) {
  RETURN_IF_ERROR(response.status());
  MakePrintable(*response->mutable_run());
  return std::move(*response->mutable_run());
}

}  // namespace

absl::StatusOr<CoordinatorConnection> CoordinatorConnection::Open(
    const Configuration& configuration) {
  RequireAddressSpace(kLeastAddressSpace);
  if (configuration.coordinator.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("no coordinator is configured; put coordinator = \"host:port\" into {}, or use "
                    "--coordinator",
                    DefaultConfigurationFile().string()));
  }
  if (!IsHostAndPort(configuration.coordinator)) {
    return absl::InvalidArgumentError(fmt::format(
        "\"{}\" is not a coordinator's address; write host:port, as in fl.example.org:7443",
        configuration.coordinator));
  }
  const CredentialFiles files = {configuration.key, configuration.certificate,
                                 configuration.authority};
  ASSIGN_OR_RETURN(const Credentials credentials,
                   LoadCredentials(files, Role::kAdministrator, absl::Now()));
  ASSIGN_OR_RETURN(std::shared_ptr<Revocations> revocations,
                   Revocations::Open(configuration.revocation_list, configuration.authority));
  WarnOfExpiry(files, absl::Now());
  SetUpRpcLibrary();
  auto note = std::make_unique<ExpiryNote>();
  auto channel = OpenChannel({.address = configuration.coordinator,
                              .files = files,
                              .federation = credentials.certificate.identity.federation,
                              .most_message_bytes = kMostMessageBytes,
                              .coordinator = note->shown(),
                              .revocations = std::move(revocations)});
  return CoordinatorConnection(configuration.coordinator, std::move(channel), std::move(note));
}

CoordinatorConnection::CoordinatorConnection(std::string address,
                                             std::shared_ptr<grpc::Channel> channel,
                                             std::unique_ptr<ExpiryNote> note)
    : address_(std::move(address)),
      note_(std::move(note)),
      channel_(std::move(channel)),
      stub_(v1::Administration::NewStub(channel_)) {}

absl::Status CoordinatorConnection::Explain(const grpc::Status& status) const {
  return ExplainFailure(StatusFromRpc(status), address_);
}

template <typename Request, typename Response>
absl::StatusOr<Response> CoordinatorConnection::Call(Rpc<Request, Response> rpc,
                                                     const Request& request) const {
  BoundedContext context(address_);
  Response response;
  RETURN_IF_ERROR(Explain((*stub_.*rpc)(&context, request, &response)));
  return response;
}

absl::StatusOr<v1::RunStatus> CoordinatorConnection::StartRun(
    const v1::StartRunRequest& request) const {
  const SystemClock clock;
  return AskUntilAnswered([&] { return RunIn(Call(&Stub::StartRun, request)); }, clock,
                          [this](absl::Duration time) { WaitToAskAgain(time); });
}

absl::StatusOr<v1::RunStatus> CoordinatorConnection::StopRun(const std::string& run_id,
                                                             const std::string& reason) const {
  return RunIn(Call(&Stub::StopRun, OfRun<v1::StopRunRequest>(run_id, reason)));
}

absl::StatusOr<v1::RunStatus> CoordinatorConnection::PauseRun(const std::string& run_id,
                                                              const std::string& reason) const {
  return RunIn(Call(&Stub::PauseRun, OfRun<v1::PauseRunRequest>(run_id, reason)));
}

absl::StatusOr<v1::RunStatus> CoordinatorConnection::ResumeRun(const std::string& run_id) const {
  return RunIn(Call(&Stub::ResumeRun, OfRun<v1::ResumeRunRequest>(run_id)));
}

absl::StatusOr<v1::RunStatus> CoordinatorConnection::RetryRun(const std::string& run_id) const {
  return RunIn(Call(&Stub::RetryRun, OfRun<v1::RetryRunRequest>(run_id)));
}

absl::StatusOr<v1::ListRunsResponse> CoordinatorConnection::ListRuns() const {
  return Printable(Call(&Stub::ListRuns, v1::ListRunsRequest()));
}

absl::StatusOr<v1::GetRunResponse> CoordinatorConnection::GetRun(const std::string& run_id) const {
  ASSIGN_OR_RETURN(v1::GetRunResponse response,
                   Call(&Stub::GetRun, OfRun<v1::GetRunRequest>(run_id)));
  RETURN_IF_ERROR(CheckIsTheRun(run_id, response.run().run_id()));
  MakePrintable(*response.mutable_run());  // The rest is read by programs.
  return response;
}

absl::StatusOr<v1::ListClientsResponse> CoordinatorConnection::ListClients() const {
  return Printable(Call(&Stub::ListClients, v1::ListClientsRequest()));
}

absl::StatusOr<v1::ClientStatus> CoordinatorConnection::GetClient(
    const std::string& institution) const {
  v1::GetClientRequest request;
  request.set_institution(PrintableText(institution));
  return Printable(Call(&Stub::GetClient, request));
}

absl::StatusOr<v1::ListModelsResponse> CoordinatorConnection::ListModels() const {
  ASSIGN_OR_RETURN(v1::ListModelsResponse response,
                   Call(&Stub::ListModels, v1::ListModelsRequest()));
  for (v1::ModelEntry& model : *response.mutable_models()) {
    model.set_name(PrintableText(model.name()));
    model.set_digest(PrintableText(model.digest()));
  }
  return response;
}

absl::Status CoordinatorConnection::WatchRun(
    const std::string& run_id, const std::stop_token& stop,
    const std::function<void(const v1::RunStatus&)>& changed,
    absl::Duration longest_silence) const {
  grpc::ClientContext context;
  const std::stop_callback cancel(stop, [&context] { context.TryCancel(); });
  const auto reader = stub_->WatchRun(&context, OfRun<v1::WatchRunRequest>(run_id));
  std::optional<StallWatch> first(std::in_place, context, longest_silence);
  v1::RunStatus run;
  std::optional<WaitingNote> note(std::in_place, "waiting for " + address_);
  while (reader->Read(&run)) {
    first.reset();
    note.reset();
    MakePrintable(run);
    changed(run);
  }
  note.reset();
  const grpc::Status end = reader->Finish();
  if (!first.has_value() || !first->has_stalled()) return ExplainEnd(end, stop);
  return absl::UnavailableError(Explain({grpc::StatusCode::DEADLINE_EXCEEDED, ""}).message());
}

absl::Status CoordinatorConnection::ExplainEnd(const grpc::Status& end,
                                               const std::stop_token& stop) const {
  // What reaches a coordinator while it shuts down is cancelled by it.
  if (end.error_code() == grpc::StatusCode::CANCELLED && !stop.stop_requested()) {
    return Explain({grpc::StatusCode::UNAVAILABLE, "the coordinator is shutting down"});
  }
  return Explain(end);
}

absl::Status CoordinatorConnection::ReadLog(
    uint64_t from, const std::stop_token& stop,
    const std::function<absl::StatusOr<bool>(const v1::LogPart&)>& take,
    absl::Duration longest_silence) const {
  grpc::ClientContext context;
  const std::stop_callback cancel(stop, [&context] { context.TryCancel(); });
  v1::ReadLogRequest request;
  request.set_from(from);
  const auto reader = stub_->ReadLog(&context, request);
  StallWatch watch(context, longest_silence);
  v1::LogPart part;
  std::optional<WaitingNote> note(std::in_place, "waiting for " + address_);
  absl::StatusOr<bool> wants_more = true;
  while (wants_more.ok() && *wants_more && reader->Read(&part)) {
    note.reset();
    wants_more = take(part);
    watch.Progress();
  }
  note.reset();
  const bool is_enough = !wants_more.ok() || !*wants_more;
  if (is_enough) context.TryCancel();
  const grpc::Status end = reader->Finish();
  if (is_enough) return wants_more.status();
  return !end.ok() && watch.has_stalled() ? FellSilent(longest_silence) : ExplainEnd(end, stop);
}

void CoordinatorConnection::WaitToAskAgain(absl::Duration time, const std::stop_token& stop) const {
  WaitWhileItConnects(*channel_, time, stop);
}

absl::StatusOr<std::string> CoordinatorConnection::FetchBlob(
    const Digest& digest, uint64_t size, const std::function<void(double)>& progress,
    absl::Duration longest_silence) const {
  std::string blob;
  blob.reserve(size);
  const SystemClock clock;
  Persistence persistence(clock);
  while (true) {
    const size_t before = blob.size();
    const absl::Status read = ReadOn({digest, size, progress, longest_silence}, blob);
    if (blob.size() == size && Sha256Of(blob) == digest) return blob;
    if (!persistence.GoesOn(read, blob.size() > before)) {
      RETURN_IF_ERROR(read);
      return absl::DataLossError(
          fmt::format("{} came from the coordinator, and they are not {} of {}",
                      HumanBytes(blob.size()), digest.ToString(), HumanBytes(size)));
    }
    WaitToAskAgain(kTriedEvery);
  }
}

// From where `blob` ends, until it is whole or the stream ends. DEADLINE_EXCEEDED, among else:
// nothing has come for the longest silence.
absl::Status CoordinatorConnection::ReadOn(const Download& download, std::string& blob) const {
  const uint64_t size = download.size;
  grpc::ClientContext context;
  v1::FetchBlobRequest request;
  request.set_sha256(download.digest.ToBinary());
  request.set_offset(blob.size());
  const auto reader = stub_->FetchBlob(&context, request);
  StallWatch watch(context, download.longest_silence);
  v1::BlobChunk chunk;
  bool more = reader->Read(&chunk);
  while (more && chunk.offset() == blob.size() && blob.size() < size) {
    watch.Progress();
    blob += chunk.data();
    download.progress(static_cast<double>(blob.size()) / static_cast<double>(size));
    more = reader->Read(&chunk);
  }
  if (more) context.TryCancel();  // It is not what was asked for.
  const grpc::Status status = reader->Finish();
  if (more) return absl::OkStatus();
  if (status.ok() || !watch.has_stalled()) return Explain(status);
  return FellSilent(download.longest_silence);
}

absl::Status CoordinatorConnection::FellSilent(absl::Duration longest_silence) const {
  return absl::DeadlineExceededError(
      fmt::format("nothing has come from {} for {}, though the connection stands; run the command "
                  "again later",
                  address_, absl::FormatDuration(longest_silence)));
}

}  // namespace fedtune
