// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/contribution_upload.h"

#include <utility>

#include "base/fail_point.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "coordinator/rpc/status_conversion.h"
#include "fmt/format.h"
#include "rpc/upload.h"

namespace fedtune {

ContributionUpload* ContributionUpload::Start(const Surroundings& around, Institution from,
                                              grpc::CallbackServerContext& context,
                                              v1::SubmitContributionResponse* response) {
  const std::shared_ptr<ContributionUpload> upload(
      new ContributionUpload(around, std::move(from), context, response));
  upload->self_ = upload;
  upload->ReadOn();
  upload->LookAt(around.clock.Monotonic() + UploadPace::kWindow);
  return upload.get();
}

ContributionUpload::ContributionUpload(const Surroundings& around, Institution from,
                                       grpc::CallbackServerContext& context,
                                       v1::SubmitContributionResponse* response)
    : gateway_(around.gateway),
      timers_(around.timers),
      clock_(around.clock),
      from_(std::move(from)),
      context_(context),
      response_(response) {}

void ContributionUpload::ReadOn() {
  const std::lock_guard lock(mutex_);
  if (finished_) return;
  pace_.Waits(clock_.Monotonic());
  StartRead(&request_);
}

void ContributionUpload::FinishOnce(const grpc::Status& status) {
  const std::lock_guard lock(mutex_);
  if (!std::exchange(finished_, true)) Finish(status);
}

void ContributionUpload::LookAt(absl::Duration when) {
  timers_.At(when, [weak = weak_from_this()] {
    if (const auto upload = weak.lock()) upload->Look();
  });
}

void ContributionUpload::Look() {
  std::optional<absl::Duration> again;
  {
    const std::lock_guard lock(mutex_);
    if (finished_) return;
    again = pace_.Look(clock_.Monotonic());
  }
  if (again.has_value()) return LookAt(*again);
  FinishOnce(grpc::Status(
      grpc::StatusCode::UNAVAILABLE,
      fmt::format("the contribution comes too slowly: less than {} in {}",
                  HumanBytes(UploadPace::kLeastBytes), HumanDuration(UploadPace::kWindow))));
}

void ContributionUpload::OnReadDone(bool ok) {
  {
    const std::lock_guard lock(mutex_);
    pace_.Came(clock_.Monotonic(), ok ? request_.chunk().data().size() : 0);
    if (finished_) return;
  }
  if (!ok) return End(HandIn());
  const absl::Status taken = Take(request_);
  if (!taken.ok() || response_->repeated()) return End(taken);
  ReadOn();
}

void ContributionUpload::End(const absl::Status& status) {
  const bool for_good = absl::IsInvalidArgument(status) || absl::IsOutOfRange(status);
  if (for_good && named_.has_value() && !cut_off_) {
    gateway_.ContributionRefused(from_, named_->run, named_->round, named_->attempt, status);
  }
  if (status.ok()) ReachFailPoint(FailPoint::kUploadAcknowledge);
  if (!absl::IsUnavailable(status) || !admitted_) return FinishOnce(ToGrpcStatus(status));
  gateway_.CouldNotKeep(from_, status);
  FinishOnce(grpc::Status(grpc::StatusCode::UNAVAILABLE,
                          "the coordinator cannot keep the contribution now"));
}

absl::Status ContributionUpload::Take(const v1::SubmitContributionRequest& request) {
  if (!submitted_.has_value()) {
    if (!request.has_header()) {
      return absl::InvalidArgumentError("a contribution begins with its header");
    }
    return Begin(request.header());
  }
  if (!request.has_chunk()) {
    return absl::InvalidArgumentError("after its header a contribution has chunks only");
  }
  const v1::BlobChunk& chunk = request.chunk();
  return masked_.has_value() ? masked_->Append(chunk.offset(), chunk.data())
                             : buffer_->Append(chunk.offset(), chunk.data());
}

absl::Status ContributionUpload::Begin(const v1::ContributionHeader& message) {
  named_ = {{message.run_id()}, message.round(), message.attempt()};
  ASSIGN_OR_RETURN(submitted_, FromMessage(message));
  ASSIGN_OR_RETURN(const Admission admission,
                   gateway_.CheckContribution(from_, submitted_->run, submitted_->header));
  admitted_ = true;
  response_->set_repeated(admission.repeated);
  if (admission.repeated) return absl::OkStatus();
  if (admission.chunk_root.has_value()) {
    chunk_root_ = *admission.chunk_root;
    ASSIGN_OR_RETURN(masked_, gateway_.NewMaskedInput(from_, submitted_->run, submitted_->header));
    TellReceived(masked_->received());
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(buffer_, gateway_.NewBuffer(from_, submitted_->run, submitted_->header));
  TellReceived(buffer_->received());
  return absl::OkStatus();
}

void ContributionUpload::TellReceived(uint64_t bytes) {
  context_.AddInitialMetadata(kReceivedBytes, fmt::format("{}", bytes));
  StartSendInitialMetadata();
}

absl::StatusOr<Admission> ContributionUpload::HandInMasked() {
  cut_off_ = !masked_->complete();
  RETURN_IF_ERROR(masked_->Finish(chunk_root_));
  return gateway_.TakeMaskedInput(from_, submitted_->run, submitted_->header, *masked_);
}

absl::Status ContributionUpload::HandIn() {
  if (masked_.has_value()) {
    ASSIGN_OR_RETURN(const Admission admission, HandInMasked());
    response_->set_repeated(admission.repeated);
    return absl::OkStatus();
  }
  if (!buffer_.has_value()) {
    return absl::InvalidArgumentError("the call ended before a contribution's header");
  }
  cut_off_ = !buffer_->complete();
  ASSIGN_OR_RETURN(VerifiedValues values, (*std::move(buffer_)).Finish());
  ASSIGN_OR_RETURN(
      const Admission admission,
      gateway_.TakeContribution(from_, submitted_->run, submitted_->header, std::move(values)));
  response_->set_repeated(admission.repeated);
  return absl::OkStatus();
}

}  // namespace fedtune
