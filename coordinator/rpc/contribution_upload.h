// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/time/time.h"
#include "base/clock.h"
#include "coordinator/driver/client_gateway.h"
#include "coordinator/driver/contributions/contribution_buffer.h"
#include "coordinator/driver/contributions/masked_input.h"
#include "coordinator/driver/timer_queue.h"
#include "coordinator/rpc/open_calls.h"
#include "coordinator/rpc/open_streams.h"
#include "coordinator/rpc/open_uploads.h"
#include "coordinator/rpc/status_conversion.h"
#include "coordinator/rpc/training_conversion.h"
#include "coordinator/rpc/upload_pace.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "proto/fedtune/v1/training.pb.h"
#include "rpc/chunks.h"

namespace fedtune {

// Takes one contribution in: header first, which is judged before any of its
// bytes are read, then chunks. Whatever is wrong ends this call only. After a header
// that is wrong its client may send another; if the bytes behind a header are wrong
// for good, it has failed in the round. A call that ends too early may have been
// cut off: its client may send again, and a large contribution goes on where it
// was. One that comes too slowly (UploadPace) is ended as if it had been cut off,
// and so is one whose client begins another one for the run (OpenUploads). Of a large one
// the run shows how much has come. Keeps itself alive until it is done.
class ContributionUpload final : public grpc::ServerReadReactor<grpc::ByteBuffer>,
                                 public StandingStream,
                                 public std::enable_shared_from_this<ContributionUpload> {
 public:
  // What all uploads share; it must outlive them.
  struct Surroundings {
    ClientGateway& gateway;
    OpenUploads& uploads;
    TimerQueue& timers;
    const Clock& clock;
  };

  // The others must outlive the call, too, for which `place` is kept.
  static ContributionUpload* Start(const Surroundings& around, Institution from,
                                   grpc::CallbackServerContext& context, grpc::ByteBuffer* response,
                                   OpenCalls::Place place);

  void Close(absl::Status reason) override { FinishOnce(ToGrpcStatus(reason)); }
  void Abandon(absl::Status reason) override { Close(std::move(reason)); }

 private:
  ContributionUpload(const Surroundings& around, Institution from,
                     grpc::CallbackServerContext& context, grpc::ByteBuffer* response,
                     OpenCalls::Place place);

  void OnReadDone(bool ok) override;
  void OnCancel() override {}
  void OnDone() override { self_.reset(); }

  absl::Status Take();
  absl::Status TakeOther();
  absl::Status Append(const ChunkView& chunk);
  absl::Status Begin(const v1::ContributionHeader& message);
  void TellReceived(uint64_t bytes);
  void ShowReceived(uint64_t bytes);
  void HandIn();
  absl::Status MakeReady();
  void Decided();
  void Acknowledge();
  void End(const absl::Status& status);

  void ReadOn();
  void FinishOnce(const grpc::Status& status);
  void LookAt(absl::Duration when);
  void Look();

  std::shared_ptr<ContributionUpload> self_;
  const OpenCalls::Place place_;
  ClientGateway& gateway_;
  OpenUploads& uploads_;
  TimerQueue& timers_;
  const Clock& clock_;
  const absl::Duration begun_ = clock_.Monotonic();
  const Institution from_;
  grpc::CallbackServerContext& context_;
  grpc::ByteBuffer* const response_;
  grpc::ByteBuffer request_;  // A SubmitContributionRequest.
  std::optional<SubmittedHeader> submitted_;
  // One of them, unless it is a repeated one.
  std::optional<ContributionBuffer> buffer_;
  std::optional<MaskedInput> masked_;
  Digest chunk_root_;               // Of the masked one.
  std::optional<HandedIn> handed_;  // When all has come.
  uint64_t shown_ = 0;              // How many of its twentieths have come, as the run shows.
  bool admitted_ = false;           // A round takes it, once it has come.
  bool repeated_ = false;
  bool cut_off_ = false;

  std::mutex mutex_;
  UploadPace pace_;        // Guarded by mutex_.
  bool finished_ = false;  // Likewise.
};

}  // namespace fedtune
