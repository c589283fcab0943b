// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/contribution_upload.h"

#include <utility>

#include "base/fail_point.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "fmt/format.h"
#include "rpc/upload.h"

namespace fedtune {
namespace {

// As often as that; each time takes the run's lock.
constexpr uint64_t kTimesShown = 20;

}  // namespace

ContributionUpload* ContributionUpload::Start(const Surroundings& around, Institution from,
                                              grpc::CallbackServerContext& context,
                                              grpc::ByteBuffer* response, OpenCalls::Place place) {
  const std::shared_ptr<ContributionUpload> upload(
      new ContributionUpload(around, std::move(from), context, response, std::move(place)));
  upload->self_ = upload;
  upload->ReadOn();
  upload->LookAt(around.clock.Monotonic() + UploadPace::kWindow);
  return upload.get();
}

ContributionUpload::ContributionUpload(const Surroundings& around, Institution from,
                                       grpc::CallbackServerContext& context,
                                       grpc::ByteBuffer* response, OpenCalls::Place place)
    : place_(std::move(place)),
      gateway_(around.gateway),
      uploads_(around.uploads),
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
    pace_.Came(clock_.Monotonic(), ok ? request_.Length() : 0);
    if (finished_) return;
  }
  if (!ok) return HandIn();
  const absl::Status taken = Take();
  if (!taken.ok() || repeated_) return End(taken);
  ReadOn();
}

void ContributionUpload::End(const absl::Status& status) {
  const bool for_good = absl::IsInvalidArgument(status) || absl::IsOutOfRange(status);
  if (for_good && admitted_ && !cut_off_) {
    gateway_.ContributionRefused(from_, submitted_->run, submitted_->header, status);
  }
  if (status.ok()) {
    Acknowledge();
    ReachFailPoint(FailPoint::kUploadAcknowledge);
  }
  const bool is_the_disk = absl::IsUnavailable(status);
  if ((!is_the_disk && !absl::IsAborted(status)) || !admitted_) {
    return FinishOnce(ToGrpcStatus(status));
  }
  if (is_the_disk) {
    gateway_.CouldNotKeep(from_, submitted_->run, submitted_->header, clock_.Monotonic() - begun_,
                          status);
  }
  FinishOnce(grpc::Status(grpc::StatusCode::UNAVAILABLE,
                          "the coordinator cannot keep the contribution now"));
}

absl::Status ContributionUpload::Take() {
  if (submitted_.has_value()) {
    if (const auto chunk = ViewUploadChunk(request_)) return Append(*chunk);
  }
  return TakeOther();
}

// The header, or what no program of ours sends.
absl::Status ContributionUpload::TakeOther() {
  ASSIGN_OR_RETURN(const v1::SubmitContributionRequest request,
                   ParseMessage<v1::SubmitContributionRequest>(request_));
  if (!submitted_.has_value()) {
    if (request.has_header()) return Begin(request.header());
    return absl::InvalidArgumentError("a contribution begins with its header");
  }
  if (request.has_chunk()) {
    return Append({.offset = request.chunk().offset(), .pieces = {request.chunk().data()}});
  }
  return absl::InvalidArgumentError("after its header a contribution has chunks only");
}

absl::Status ContributionUpload::Append(const ChunkView& chunk) {
  uint64_t offset = chunk.offset;
  for (const std::string_view piece : chunk.pieces) {
    RETURN_IF_ERROR(masked_.has_value() ? masked_->Append(offset, piece)
                                        : buffer_->Append(offset, piece));
    offset += piece.size();
  }
  ShowReceived(offset);
  return absl::OkStatus();
}

absl::Status ContributionUpload::Begin(const v1::ContributionHeader& message) {
  ASSIGN_OR_RETURN(submitted_, FromMessage(message));
  ASSIGN_OR_RETURN(const Admission admission,
                   gateway_.CheckContribution(from_, submitted_->run, submitted_->header));
  admitted_ = true;
  repeated_ = admission.repeated;
  if (admission.repeated) return absl::OkStatus();
  uploads_.Begin(from_, submitted_->run, weak_from_this());
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

// A call that has finished meanwhile, as when a certificate is revoked, has sent its metadata.
void ContributionUpload::TellReceived(uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (finished_) return;
  context_.AddInitialMetadata(kReceivedBytes, fmt::format("{}", bytes));
  StartSendInitialMetadata();
}

// As if its client said so, which cannot know what has come.
void ContributionUpload::ShowReceived(uint64_t bytes) {
  const ContributionHeader& header = submitted_->header;
  if (header.size_bytes <= kLargeUpload) return;
  const auto fraction = static_cast<double>(bytes) / static_cast<double>(header.size_bytes);
  const auto times = static_cast<uint64_t>(fraction * kTimesShown);
  if (times == shown_) return;
  shown_ = times;
  gateway_.Receive(from_, submitted_->run,
                   ProgressReported{.round = header.round,
                                    .attempt = header.attempt,
                                    .phase = ReportedPhase::kUploading,
                                    .fraction = fraction});
}

// The outcome comes on another thread: those of the connections do not wait for the
// disk, and what comes meanwhile is stored together.
void ContributionUpload::HandIn() {
  if (const absl::Status ready = MakeReady(); !ready.ok()) return End(ready);
  handed_->decided = [self = shared_from_this()] { self->Decided(); };
  gateway_.TakeLater(submitted_->run, *handed_);
}

absl::Status ContributionUpload::MakeReady() {
  if (masked_.has_value()) {
    cut_off_ = !masked_->complete();
    ASSIGN_OR_RETURN(auto elements, (*std::move(masked_)).Finish(chunk_root_));
    handed_.emplace(
        HandedIn{.from = from_, .header = submitted_->header, .what = std::move(elements)});
    return absl::OkStatus();
  }
  if (!buffer_.has_value()) {
    return absl::InvalidArgumentError("the call ended before a contribution's header");
  }
  cut_off_ = !buffer_->complete();
  ASSIGN_OR_RETURN(VerifiedValues values, (*std::move(buffer_)).Finish());
  handed_.emplace(HandedIn{.from = from_, .header = submitted_->header, .what = std::move(values)});
  return absl::OkStatus();
}

void ContributionUpload::Decided() {
  const absl::StatusOr<Admission>& admission = *handed_->outcome;
  repeated_ = admission.ok() && admission->repeated;
  End(admission.status());
}

// The response goes with the call, which may have ended.
void ContributionUpload::Acknowledge() {
  v1::SubmitContributionResponse response;
  response.set_repeated(repeated_);
  const std::lock_guard lock(mutex_);
  if (!finished_) *response_ = BytesOf(response);
}

}  // namespace fedtune
