// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "coordinator/driver/client_gateway.h"
#include "coordinator/driver/run_administration.h"
#include "coordinator/rpc/caller.h"
#include "coordinator/rpc/log_answers.h"
#include "coordinator/rpc/open_streams.h"
#include "proto/fedtune/v1/administration.grpc.pb.h"

namespace fedtune {

// The call that carries blobs gets and gives messages as bytes: rpc/chunks.h.
using RawAdministrationService =
    v1::Administration::WithRawCallbackMethod_FetchBlob<v1::Administration::CallbackService>;

// The Administration RPCs: authenticate, convert, delegate, convert back.
// Thread-safe.
class AdministrationService final : public RawAdministrationService {
 public:
  // All must outlive the service and its calls.
  struct Parts {
    RunAdministration& runs;
    const ClientGateway& blobs;
    const CallerCheck& callers;
    OpenStreams& streams;
    const LogAnswers& log;
  };

  explicit AdministrationService(Parts parts) : parts_(parts) {}

  using Context = grpc::CallbackServerContext;

  grpc::ServerUnaryReactor* StartRun(Context* context, const v1::StartRunRequest* request,
                                     v1::StartRunResponse* response) override;
  grpc::ServerUnaryReactor* StopRun(Context* context, const v1::StopRunRequest* request,
                                    v1::StopRunResponse* response) override;
  grpc::ServerUnaryReactor* PauseRun(Context* context, const v1::PauseRunRequest* request,
                                     v1::PauseRunResponse* response) override;
  grpc::ServerUnaryReactor* ResumeRun(Context* context, const v1::ResumeRunRequest* request,
                                      v1::ResumeRunResponse* response) override;
  grpc::ServerUnaryReactor* RetryRun(Context* context, const v1::RetryRunRequest* request,
                                     v1::RetryRunResponse* response) override;
  grpc::ServerUnaryReactor* ListRuns(Context* context, const v1::ListRunsRequest* request,
                                     v1::ListRunsResponse* response) override;
  grpc::ServerUnaryReactor* GetRun(Context* context, const v1::GetRunRequest* request,
                                   v1::GetRunResponse* response) override;
  grpc::ServerWriteReactor<v1::RunStatus>* WatchRun(Context* context,
                                                    const v1::WatchRunRequest* request) override;
  grpc::ServerUnaryReactor* ListClients(Context* context, const v1::ListClientsRequest* request,
                                        v1::ListClientsResponse* response) override;
  grpc::ServerUnaryReactor* GetClient(Context* context, const v1::GetClientRequest* request,
                                      v1::ClientStatus* response) override;
  grpc::ServerUnaryReactor* ListModels(Context* context, const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* FetchBlob(Context* context,
                                                        const grpc::ByteBuffer* request) override;
  grpc::ServerWriteReactor<v1::LogPart>* ReadLog(Context* context,
                                                 const v1::ReadLogRequest* request) override;

 private:
  // Answers with what `handle` returns, if the caller may call `rpc` at all.
  template <typename Handle>
  grpc::ServerUnaryReactor* Answer(Context& context, std::string_view rpc, Handle handle) const;

  absl::Status Start(const Caller& caller, const v1::StartRunRequest& request,
                     v1::StartRunResponse& response);
  // Answers with the named run as `step` leaves it.
  template <typename Request, typename Response, typename Step>
  absl::Status Change(const Request& request, Response& response, Step step) const;

  absl::Status List(v1::ListRunsResponse& response) const;
  absl::Status Get(const v1::GetRunRequest& request, v1::GetRunResponse& response) const;
  absl::Status Clients(v1::ListClientsResponse& response) const;
  absl::Status Client(const v1::GetClientRequest& request, v1::ClientStatus& response) const;
  absl::Status Models(v1::ListModelsResponse& response) const;

  const Parts parts_;
};

}  // namespace fedtune
