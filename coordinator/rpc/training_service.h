// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "coordinator/driver/client_gateway.h"
#include "coordinator/rpc/caller.h"
#include "coordinator/rpc/contribution_upload.h"
#include "coordinator/rpc/log_answers.h"
#include "coordinator/rpc/open_calls.h"
#include "coordinator/rpc/open_streams.h"
#include "coordinator/rpc/session_pace.h"
#include "proto/fedtune/v1/training.grpc.pb.h"

namespace fedtune {

// The calls get and give messages as bytes, so that blobs (rpc/chunks.h) and invitations
// are not copied.
using RawTrainingService = v1::Training::WithRawCallbackMethod_FetchBlob<
    v1::Training::WithRawCallbackMethod_SubmitContribution<
        v1::Training::WithRawCallbackMethod_Session<
            v1::Training::WithCallbackMethod_ProveLog<v1::Training::Service>>>>;

// The Training RPCs: authenticate, convert, delegate. Thread-safe.
class TrainingService final : public RawTrainingService {
 public:
  // All must outlive the service and its calls.
  TrainingService(const ContributionUpload::Surroundings& around, const CallerCheck& callers,
                  OpenStreams& streams, const LogAnswers& log)
      : around_(around),
        gateway_(around.gateway),
        callers_(callers),
        streams_(streams),
        log_(log) {}

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Session(
      grpc::CallbackServerContext* context) override;

  grpc::ServerWriteReactor<grpc::ByteBuffer>* FetchBlob(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* request) override;

  grpc::ServerReadReactor<grpc::ByteBuffer>* SubmitContribution(
      grpc::CallbackServerContext* context, grpc::ByteBuffer* response) override;

  grpc::ServerUnaryReactor* ProveLog(grpc::CallbackServerContext* context,
                                     const v1::ProveLogRequest* request,
                                     v1::ProveLogResponse* response) override;

 private:
  // A place for a call, or why there is none, which the log says, too.
  absl::StatusOr<OpenCalls::Place> PlaceFor(const Caller& caller);

  absl::Status Prove(const Caller& caller, const v1::ProveLogRequest& request,
                     v1::ProveLogResponse& response) const;

  const ContributionUpload::Surroundings around_;
  ClientGateway& gateway_;
  const CallerCheck& callers_;
  OpenStreams& streams_;
  const LogAnswers& log_;
  SessionPace pace_;
  OpenCalls calls_;
};

}  // namespace fedtune
