// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "coordinator/driver/client_gateway.h"
#include "coordinator/rpc/caller.h"
#include "coordinator/rpc/contribution_upload.h"
#include "coordinator/rpc/open_streams.h"
#include "proto/fedtune/v1/training.grpc.pb.h"

namespace fedtune {

// The Training RPCs: authenticate, convert, delegate. Thread-safe.
class TrainingService final : public v1::Training::CallbackService {
 public:
  // All must outlive the service and its calls.
  TrainingService(const ContributionUpload::Surroundings& around, const CallerCheck& callers,
                  OpenStreams& streams)
      : around_(around), gateway_(around.gateway), callers_(callers), streams_(streams) {}

  grpc::ServerBidiReactor<v1::ClientMessage, v1::CoordinatorMessage>* Session(
      grpc::CallbackServerContext* context) override;

  grpc::ServerWriteReactor<v1::BlobChunk>* FetchBlob(grpc::CallbackServerContext* context,
                                                     const v1::FetchBlobRequest* request) override;

  grpc::ServerReadReactor<v1::SubmitContributionRequest>* SubmitContribution(
      grpc::CallbackServerContext* context, v1::SubmitContributionResponse* response) override;

 private:
  const ContributionUpload::Surroundings around_;
  ClientGateway& gateway_;
  const CallerCheck& callers_;
  OpenStreams& streams_;
};

}  // namespace fedtune
