// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/training_service.h"

#include <utility>

#include "base/status_macros.h"
#include "coordinator/rpc/blob_stream.h"
#include "coordinator/rpc/contribution_upload.h"
#include "coordinator/rpc/refused_call.h"
#include "coordinator/rpc/session_stream.h"
#include "coordinator/rpc/status_conversion.h"
#include "coordinator/rpc/training_conversion.h"
#include "fmt/format.h"
#include "rpc/chunks.h"

namespace fedtune {
namespace {

absl::StatusOr<Blob> FindBlob(const ClientGateway& gateway, const v1::FetchBlobRequest& request) {
  ASSIGN_OR_RETURN(const Digest digest, Digest::FromBinary(request.sha256(), "sha256"));
  return gateway.FetchBlob(digest);
}

}  // namespace

absl::StatusOr<OpenCalls::Place> TrainingService::PlaceFor(const Caller& caller) {
  const Institution institution{caller.identity.name};
  OpenCalls::Place place = calls_.Begin(institution);
  if (place != nullptr) return place;
  absl::Status why = absl::ResourceExhaustedError(fmt::format(
      "this institution has {} calls open, more than a client needs; do others run with its key?",
      OpenCalls::kMost));
  gateway_.CallRefused(institution, why);
  return why;
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* TrainingService::Session(
    grpc::CallbackServerContext* context) {
  using Reactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;
  const auto caller = callers_.Check(*context, "/fedtune.v1.Training/Session");
  if (!caller.ok()) return new RefusedCall<Reactor>(caller.status());
  if (!pace_.MayBegin({caller->identity.name}, around_.clock.Monotonic())) {
    return new RefusedCall<Reactor>(absl::ResourceExhaustedError(
        "this institution begins sessions too often; do two clients run with its key?"));
  }
  auto place = PlaceFor(*caller);
  if (!place.ok()) return new RefusedCall<Reactor>(place.status());
  SessionStream* const session =
      SessionStream::Begin(around_, *caller, *context, streams_, *std::move(place));
  callers_.Watch(*caller, session->shared_from_this());
  return session;
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* TrainingService::FetchBlob(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  const auto caller = callers_.Check(*context, "/fedtune.v1.Training/FetchBlob");
  if (!caller.ok()) return RefuseBlob(caller.status());
  auto place = PlaceFor(*caller);
  if (!place.ok()) return RefuseBlob(place.status());
  grpc::ByteBuffer bytes = *request;
  const auto message = ParseMessage<v1::FetchBlobRequest>(bytes);
  if (!message.ok()) return RefuseBlob(message.status());
  return StreamBlob(
      FindBlob(gateway_, *message), message->offset(), *context,
      [&](const auto& stream) { callers_.Watch(*caller, stream); }, *std::move(place));
}

grpc::ServerReadReactor<grpc::ByteBuffer>* TrainingService::SubmitContribution(
    grpc::CallbackServerContext* context, grpc::ByteBuffer* response) {
  using Reactor = grpc::ServerReadReactor<grpc::ByteBuffer>;
  const auto caller = callers_.Check(*context, "/fedtune.v1.Training/SubmitContribution");
  if (!caller.ok()) return new RefusedCall<Reactor>(caller.status());
  auto place = PlaceFor(*caller);
  if (!place.ok()) return new RefusedCall<Reactor>(place.status());
  ContributionUpload* const upload = ContributionUpload::Start(
      around_, {caller->identity.name}, *context, response, *std::move(place));
  callers_.Watch(*caller, upload->shared_from_this());
  return upload;
}

grpc::ServerUnaryReactor* TrainingService::ProveLog(grpc::CallbackServerContext* context,
                                                    const v1::ProveLogRequest* request,
                                                    v1::ProveLogResponse* response) {
  const auto prove = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const Caller caller,
                     callers_.Check(*context, "/fedtune.v1.Training/ProveLog"));
    ASSIGN_OR_RETURN(const OpenCalls::Place place, PlaceFor(caller));
    return Prove(caller, *request, *response);
  };
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(prove()));
  return reactor;
}

absl::Status TrainingService::Prove(const Caller& caller, const v1::ProveLogRequest& request,
                                    v1::ProveLogResponse& response) const {
  const bool names_a_run = !request.run_id().empty();
  if (names_a_run && !gateway_.MayKnow({caller.identity.name}, {request.run_id()})) {
    return absl::NotFoundError("there is no such run that this institution may take part in");
  }
  ASSIGN_OR_RETURN(response, log_.Prove(request));
  return absl::OkStatus();
}

}  // namespace fedtune
