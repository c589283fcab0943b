// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/administration_service.h"

#include "base/printable_text.h"
#include "base/status_macros.h"
#include "coordinator/rpc/administration_conversion.h"
#include "coordinator/rpc/blob_stream.h"
#include "coordinator/rpc/refused_call.h"
#include "coordinator/rpc/run_watch_stream.h"
#include "coordinator/rpc/status_conversion.h"
#include "coordinator/rpc/training_conversion.h"
#include "fmt/format.h"
#include "rpc/chunks.h"

namespace fedtune {

template <typename Handle>
grpc::ServerUnaryReactor* AdministrationService::Answer(Context& context, std::string_view rpc,
                                                        Handle handle) const {
  const auto caller = parts_.callers.Check(context, rpc);
  grpc::ServerUnaryReactor* reactor = context.DefaultReactor();
  reactor->Finish(ToGrpcStatus(caller.ok() ? handle(*caller) : caller.status()));
  return reactor;
}

grpc::ServerUnaryReactor* AdministrationService::StartRun(Context* context,
                                                          const v1::StartRunRequest* request,
                                                          v1::StartRunResponse* response) {
  return Answer(*context, "/fedtune.v1.Administration/StartRun",
                [&](const Caller& caller) { return Start(caller, *request, *response); });
}

absl::Status AdministrationService::Start(const Caller& caller, const v1::StartRunRequest& request,
                                          v1::StartRunResponse& response) {
  ASSIGN_OR_RETURN(const RunOverview run,
                   parts_.runs.Start({.request_id = request.request_id(),
                                      .plan_toml = request.plan_toml(),
                                      .base_model_json = request.base_model_json(),
                                      .started_by = caller.identity.name}));
  *response.mutable_run() = ToMessage(run);
  return absl::OkStatus();
}

template <typename Request, typename Response, typename Step>
absl::Status AdministrationService::Change(const Request& request, Response& response,
                                           Step step) const {
  ASSIGN_OR_RETURN(const RunId id, parts_.runs.Resolve(request.run_id()));
  ASSIGN_OR_RETURN(const RunOverview run, step(id));
  *response.mutable_run() = ToMessage(run);
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* AdministrationService::StopRun(Context* context,
                                                         const v1::StopRunRequest* request,
                                                         v1::StopRunResponse* response) {
  return Answer(*context, "/fedtune.v1.Administration/StopRun", [&](const Caller&) {
    return Change(*request, *response, [&](const RunId& id) {
      return parts_.runs.Stop(id, PrintableText(request->reason()));
    });
  });
}

grpc::ServerUnaryReactor* AdministrationService::PauseRun(Context* context,
                                                          const v1::PauseRunRequest* request,
                                                          v1::PauseRunResponse* response) {
  return Answer(*context, "/fedtune.v1.Administration/PauseRun", [&](const Caller&) {
    return Change(*request, *response, [&](const RunId& id) {
      return parts_.runs.Pause(id, PrintableText(request->reason()));
    });
  });
}

grpc::ServerUnaryReactor* AdministrationService::ResumeRun(Context* context,
                                                           const v1::ResumeRunRequest* request,
                                                           v1::ResumeRunResponse* response) {
  return Answer(*context, "/fedtune.v1.Administration/ResumeRun", [&](const Caller&) {
    return Change(*request, *response, [&](const RunId& id) { return parts_.runs.Resume(id); });
  });
}

grpc::ServerUnaryReactor* AdministrationService::RetryRun(Context* context,
                                                          const v1::RetryRunRequest* request,
                                                          v1::RetryRunResponse* response) {
  return Answer(*context, "/fedtune.v1.Administration/RetryRun", [&](const Caller&) {
    return Change(*request, *response, [&](const RunId& id) { return parts_.runs.Retry(id); });
  });
}

grpc::ServerUnaryReactor* AdministrationService::ListRuns(Context* context,
                                                          const v1::ListRunsRequest*,
                                                          v1::ListRunsResponse* response) {
  return Answer(*context, "/fedtune.v1.Administration/ListRuns",
                [&](const Caller&) { return List(*response); });
}

absl::Status AdministrationService::List(v1::ListRunsResponse& response) const {
  ASSIGN_OR_RETURN(const std::vector<RunOverview> runs, parts_.runs.List());
  for (const RunOverview& run : runs) {
    v1::RunStatus& message = *response.add_runs();
    message = ToMessage(run);
    message.clear_clients();
    message.clear_last_round();
  }
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* AdministrationService::GetRun(Context* context,
                                                        const v1::GetRunRequest* request,
                                                        v1::GetRunResponse* response) {
  return Answer(*context, "/fedtune.v1.Administration/GetRun",
                [&](const Caller&) { return Get(*request, *response); });
}

absl::Status AdministrationService::Get(const v1::GetRunRequest& request,
                                        v1::GetRunResponse& response) const {
  ASSIGN_OR_RETURN(const RunId id, parts_.runs.Resolve(request.run_id()));
  ASSIGN_OR_RETURN(const RunOverview run, parts_.runs.Get(id));
  ASSIGN_OR_RETURN(std::vector<ReleaseRecord> releases, parts_.runs.Releases(id));
  // Another round may be over meanwhile: what is told is to be of one moment.
  const auto done = static_cast<size_t>(run.view.rounds_done);
  if (releases.size() > done) releases.resize(done);
  *response.mutable_run() = ToMessage(run);
  response.set_plan_toml(run.record.plan_toml);
  response.set_layout_json(run.record.layout_json);
  response.set_base_model_json(run.record.base_model_json);
  for (const ReleaseRecord& release : releases) *response.add_rounds() = ToMessage(release);
  if (!releases.empty()) {
    FillExpertTokens(releases.back(), *response.mutable_rounds()->rbegin());
  }
  return absl::OkStatus();
}

grpc::ServerWriteReactor<v1::RunStatus>* AdministrationService::WatchRun(
    Context* context, const v1::WatchRunRequest* request) {
  using Refused = RefusedCall<grpc::ServerWriteReactor<v1::RunStatus>>;
  const auto caller = parts_.callers.Check(*context, "/fedtune.v1.Administration/WatchRun");
  if (!caller.ok()) return new Refused(caller.status());
  absl::StatusOr<RunId> run = parts_.runs.Resolve(request->run_id());
  if (!run.ok()) return new Refused(run.status());
  RunWatchStream* const stream =
      RunWatchStream::Begin(parts_.runs, *std::move(run), *context, parts_.streams);
  parts_.callers.Watch(*caller, stream->shared_from_this());
  return stream;
}

grpc::ServerUnaryReactor* AdministrationService::ListClients(Context* context,
                                                             const v1::ListClientsRequest*,
                                                             v1::ListClientsResponse* response) {
  return Answer(*context, "/fedtune.v1.Administration/ListClients",
                [&](const Caller&) { return Clients(*response); });
}

absl::Status AdministrationService::Clients(v1::ListClientsResponse& response) const {
  ASSIGN_OR_RETURN(const std::vector<ClientOverview> clients, parts_.runs.Clients());
  for (const ClientOverview& client : clients) *response.add_clients() = ToMessage(client);
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* AdministrationService::GetClient(Context* context,
                                                           const v1::GetClientRequest* request,
                                                           v1::ClientStatus* response) {
  return Answer(*context, "/fedtune.v1.Administration/GetClient",
                [&](const Caller&) { return Client(*request, *response); });
}

absl::Status AdministrationService::Client(const v1::GetClientRequest& request,
                                           v1::ClientStatus& response) const {
  ASSIGN_OR_RETURN(const std::vector<ClientOverview> clients, parts_.runs.Clients());
  for (const ClientOverview& client : clients) {
    if (client.record.institution.value != request.institution()) continue;
    response = ToMessage(client);
    return absl::OkStatus();
  }
  return absl::NotFoundError(fmt::format(
      "no client of {} was ever seen; fedtune client list shows them all", request.institution()));
}

grpc::ServerUnaryReactor* AdministrationService::ListModels(Context* context,
                                                            const v1::ListModelsRequest*,
                                                            v1::ListModelsResponse* response) {
  return Answer(*context, "/fedtune.v1.Administration/ListModels",
                [&](const Caller&) { return Models(*response); });
}

absl::Status AdministrationService::Models(v1::ListModelsResponse& response) const {
  ASSIGN_OR_RETURN(const std::vector<ModelRecord> models, parts_.runs.Models());
  for (const ModelRecord& model : models) *response.add_models() = ToMessage(model);
  return absl::OkStatus();
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* AdministrationService::FetchBlob(
    Context* context, const grpc::ByteBuffer* request) {
  const auto caller = parts_.callers.Check(*context, "/fedtune.v1.Administration/FetchBlob");
  if (!caller.ok()) return RefuseBlob(caller.status());
  grpc::ByteBuffer bytes = *request;
  const auto message = ParseMessage<v1::FetchBlobRequest>(bytes);
  if (!message.ok()) return RefuseBlob(message.status());
  const auto digest = Digest::FromBinary(message->sha256(), "sha256");
  if (!digest.ok()) return RefuseBlob(digest.status());
  return StreamBlob(parts_.blobs.FetchBlob(*digest), message->offset(), *context,
                    [&](const auto& stream) { parts_.callers.Watch(*caller, stream); });
}

grpc::ServerWriteReactor<v1::LogPart>* AdministrationService::ReadLog(
    Context* context, const v1::ReadLogRequest* request) {
  using Refused = RefusedCall<grpc::ServerWriteReactor<v1::LogPart>>;
  const auto caller = parts_.callers.Check(*context, "/fedtune.v1.Administration/ReadLog");
  if (!caller.ok()) return new Refused(caller.status());
  return parts_.log.Read(request->from(), *context,
                         [&](const auto& stream) { parts_.callers.Watch(*caller, stream); });
}

}  // namespace fedtune
