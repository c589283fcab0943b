// SPDX-License-Identifier: Apache-2.0

#include "cli/coordinator_connection.h"

#include <grpcpp/client_context.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/time/clock.h"
#include "base/exhaustion.h"
#include "base/host_and_port.h"
#include "base/printable_text.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "base/waiting_note.h"
#include "cli/printable_message.h"
#include "fmt/format.h"
#include "privacy/identity/key_directory.h"
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

v1::GetRunRequest RunRequest(const std::string& run_id) {
  v1::GetRunRequest request;
  request.set_run_id(PrintableText(run_id));
  return request;
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
  SetUpRpcLibrary();
  auto channel = OpenChannel({.address = configuration.coordinator,
                              .files = files,
                              .federation = credentials.certificate.identity.federation,
                              .most_message_bytes = kMostMessageBytes});
  return CoordinatorConnection(configuration.coordinator,
                               v1::Administration::NewStub(std::move(channel)));
}

CoordinatorConnection::CoordinatorConnection(std::string address,
                                             std::unique_ptr<v1::Administration::Stub> stub)
    : address_(std::move(address)), stub_(std::move(stub)) {}

absl::Status CoordinatorConnection::Explain(const grpc::Status& status) const {
  return ExplainFailure(StatusFromRpc(status), address_);
}

absl::StatusOr<v1::RunStatus> CoordinatorConnection::StartRun(
    const v1::StartRunRequest& request) const {
  BoundedContext context(address_);
  v1::StartRunResponse response;
  RETURN_IF_ERROR(Explain(stub_->StartRun(&context, request, &response)));
  MakePrintable(response);
  return response.run();
}

absl::StatusOr<v1::RunStatus> CoordinatorConnection::StopRun(const std::string& run_id,
                                                             const std::string& reason) const {
  BoundedContext context(address_);
  v1::StopRunRequest request;
  request.set_run_id(PrintableText(run_id));
  request.set_reason(PrintableText(reason));
  v1::StopRunResponse response;
  RETURN_IF_ERROR(Explain(stub_->StopRun(&context, request, &response)));
  MakePrintable(response);
  return response.run();
}

absl::StatusOr<v1::RunStatus> CoordinatorConnection::PauseRun(const std::string& run_id,
                                                              const std::string& reason) const {
  BoundedContext context(address_);
  v1::PauseRunRequest request;
  request.set_run_id(PrintableText(run_id));
  request.set_reason(PrintableText(reason));
  v1::PauseRunResponse response;
  RETURN_IF_ERROR(Explain(stub_->PauseRun(&context, request, &response)));
  MakePrintable(response);
  return response.run();
}

absl::StatusOr<v1::RunStatus> CoordinatorConnection::ResumeRun(const std::string& run_id) const {
  BoundedContext context(address_);
  v1::ResumeRunRequest request;
  request.set_run_id(PrintableText(run_id));
  v1::ResumeRunResponse response;
  RETURN_IF_ERROR(Explain(stub_->ResumeRun(&context, request, &response)));
  MakePrintable(response);
  return response.run();
}

absl::StatusOr<v1::RunStatus> CoordinatorConnection::RetryRun(const std::string& run_id) const {
  BoundedContext context(address_);
  v1::RetryRunRequest request;
  request.set_run_id(PrintableText(run_id));
  v1::RetryRunResponse response;
  RETURN_IF_ERROR(Explain(stub_->RetryRun(&context, request, &response)));
  MakePrintable(response);
  return response.run();
}

absl::StatusOr<v1::ListRunsResponse> CoordinatorConnection::ListRuns() const {
  BoundedContext context(address_);
  v1::ListRunsResponse response;
  RETURN_IF_ERROR(Explain(stub_->ListRuns(&context, {}, &response)));
  MakePrintable(response);
  return response;
}

absl::StatusOr<v1::GetRunResponse> CoordinatorConnection::GetRun(const std::string& run_id) const {
  BoundedContext context(address_);
  v1::GetRunResponse response;
  RETURN_IF_ERROR(Explain(stub_->GetRun(&context, RunRequest(run_id), &response)));
  MakePrintable(*response.mutable_run());  // The rest is read by programs.
  return response;
}

absl::StatusOr<v1::ListClientsResponse> CoordinatorConnection::ListClients() const {
  BoundedContext context(address_);
  v1::ListClientsResponse response;
  RETURN_IF_ERROR(Explain(stub_->ListClients(&context, {}, &response)));
  MakePrintable(response);
  return response;
}

absl::StatusOr<v1::ClientStatus> CoordinatorConnection::GetClient(
    const std::string& institution) const {
  BoundedContext context(address_);
  v1::GetClientRequest request;
  request.set_institution(PrintableText(institution));
  v1::ClientStatus response;
  RETURN_IF_ERROR(Explain(stub_->GetClient(&context, request, &response)));
  MakePrintable(response);
  return response;
}

absl::StatusOr<v1::ListModelsResponse> CoordinatorConnection::ListModels() const {
  BoundedContext context(address_);
  v1::ListModelsResponse response;
  RETURN_IF_ERROR(Explain(stub_->ListModels(&context, {}, &response)));
  for (v1::ModelEntry& model : *response.mutable_models()) {
    model.set_name(PrintableText(model.name()));
    model.set_digest(PrintableText(model.digest()));
  }
  return response;
}

absl::Status CoordinatorConnection::WatchRun(
    const std::string& run_id, const std::stop_token& stop,
    const std::function<void(const v1::RunStatus&)>& changed) const {
  grpc::ClientContext context;
  const std::stop_callback cancel(stop, [&context] { context.TryCancel(); });
  v1::WatchRunRequest request;
  request.set_run_id(PrintableText(run_id));
  const auto reader = stub_->WatchRun(&context, request);
  v1::RunStatus run;
  std::optional<WaitingNote> note(std::in_place, "waiting for " + address_);
  while (reader->Read(&run)) {
    note.reset();
    MakePrintable(run);
    changed(run);
  }
  note.reset();
  const grpc::Status end = reader->Finish();
  // What reaches a coordinator while it shuts down is cancelled by it.
  if (end.error_code() == grpc::StatusCode::CANCELLED && !stop.stop_requested()) {
    return Explain({grpc::StatusCode::UNAVAILABLE, "the coordinator is shutting down"});
  }
  return Explain(end);
}

absl::StatusOr<std::string> CoordinatorConnection::FetchBlob(
    const Digest& digest, uint64_t size, const std::function<void(double)>& progress) const {
  grpc::ClientContext context;
  v1::FetchBlobRequest request;
  request.set_sha256(digest.ToBinary());
  const auto reader = stub_->FetchBlob(&context, request);
  std::string blob;
  v1::BlobChunk chunk;
  while (reader->Read(&chunk) && chunk.offset() == blob.size() && blob.size() < size) {
    blob += chunk.data();
    progress(static_cast<double>(blob.size()) / static_cast<double>(size));
  }
  context.TryCancel();
  const grpc::Status status = reader->Finish();
  if (blob.size() == size && Sha256Of(blob) == digest) return blob;
  if (!status.ok() && status.error_code() != grpc::StatusCode::CANCELLED) return Explain(status);
  return absl::DataLossError(fmt::format("{} came from the coordinator, and they are not {} of {}",
                                         HumanBytes(blob.size()), digest.ToString(),
                                         HumanBytes(size)));
}

}  // namespace fedtune
