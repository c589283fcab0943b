// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/run_watch_stream.h"

#include <utility>

#include "coordinator/driver/run_overview.h"
#include "coordinator/rpc/administration_conversion.h"
#include "coordinator/rpc/status_conversion.h"

namespace fedtune {

RunWatchStream* RunWatchStream::Begin(const RunAdministration& runs, RunId run,
                                      grpc::CallbackServerContext& context, OpenStreams& streams) {
  const std::shared_ptr<RunWatchStream> stream(new RunWatchStream(runs, std::move(run), context));
  stream->self_ = stream;
  runs.Watch(stream->run_, stream);  // First, so that no change is missed.
  stream->RunChanged();
  streams.Add(stream);
  return stream.get();
}

void RunWatchStream::RunChanged() {
  const std::lock_guard lock(mutex_);
  changed_ = true;
  if (!writing_ && !closing_.has_value()) WriteStatus();
}

void RunWatchStream::WriteStatus() {
  if (finished_) return;
  const absl::StatusOr<RunOverview> run = runs_.Get(run_);
  if (!run.ok()) return End(ToGrpcStatus(run.status()));
  status_ = ToMessage(*run);
  told_end_ = HasEnded(run->view.state);
  changed_ = false;
  writing_ = true;
  StartWrite(&status_);
}

void RunWatchStream::End(const grpc::Status& status) {
  if (std::exchange(finished_, true)) return;
  Finish(status);
}

void RunWatchStream::OnWriteDone(bool ok) {
  const std::lock_guard lock(mutex_);
  writing_ = false;
  if (cancelling_) return;  // Abandon() ends it.
  if (!ok) return End(grpc::Status::CANCELLED);
  if (told_end_) return End(grpc::Status::OK);
  if (closing_.has_value()) return End(*closing_);
  if (changed_) WriteStatus();
}

void RunWatchStream::Close(absl::Status reason) {
  const std::lock_guard lock(mutex_);
  if (!closing_.has_value()) closing_ = ToGrpcStatus(reason);
  if (!writing_ && !cancelling_) End(*closing_);
}

// The call is there while it has no Finish(), which waits for this to be over.
void RunWatchStream::Abandon(absl::Status reason) {
  std::unique_lock lock(mutex_);
  if (!closing_.has_value()) closing_ = ToGrpcStatus(reason);
  if (finished_ || cancelling_) return;
  if (writing_) {
    cancelling_ = true;
    lock.unlock();
    context_.TryCancel();
    lock.lock();
    cancelling_ = false;
  }
  if (!writing_) End(*closing_);
}

void RunWatchStream::OnCancel() { Close(absl::CancelledError("the connection is gone")); }

}  // namespace fedtune
