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
  if (!writing_) WriteStatus();
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
  if (!ok) return End(grpc::Status::CANCELLED);
  if (told_end_) return End(grpc::Status::OK);
  if (closing_.has_value()) return End(*closing_);
  if (changed_) WriteStatus();
}

void RunWatchStream::Close(absl::Status reason) {
  const std::lock_guard lock(mutex_);
  if (!closing_.has_value()) closing_ = ToGrpcStatus(reason);
  if (!writing_) End(*closing_);
}

// Also of a call that has finished, where what was written waits for somebody to read it. The
// call is there until OnDone(), which waits for this to be over.
void RunWatchStream::Abandon(absl::Status reason) {
  const std::lock_guard lock(mutex_);
  if (!closing_.has_value()) closing_ = ToGrpcStatus(reason);
  if (done_) return;
  context_.TryCancel();
  if (!writing_) End(*closing_);
}

void RunWatchStream::OnDone() {
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  self_.reset();
}

void RunWatchStream::OnCancel() { Close(absl::CancelledError("the connection is gone")); }

}  // namespace fedtune
