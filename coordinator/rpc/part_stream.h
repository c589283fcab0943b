// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/rpc/open_streams.h"
#include "coordinator/rpc/status_conversion.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"

namespace fedtune {

// Is told of a stream that begins.
using StreamObserver = std::function<void(const std::shared_ptr<StandingStream>& stream)>;

// Sends one message after the other, each made when the last one has been taken off its
// hands. Thread-safe; keeps itself alive until the call is over.
template <typename Message>
class PartStream final : public grpc::ServerWriteReactor<Message>,
                         public StandingStream,
                         public std::enable_shared_from_this<PartStream<Message>> {
 public:
  // Makes the next message; false: there is none. Called by one thread at a time.
  using Source = std::function<absl::StatusOr<bool>(Message& part)>;

  static PartStream* Begin(Source source, grpc::CallbackServerContext& context,
                           const StreamObserver& begun) {
    const std::shared_ptr<PartStream> stream(new PartStream(std::move(source), context));
    stream->self_ = stream;
    {
      const std::lock_guard lock(stream->mutex_);
      stream->Next();
    }
    begun(stream);
    return stream.get();
  }

  void Close(absl::Status reason) override {
    const std::lock_guard lock(mutex_);
    if (!closing_.has_value()) closing_ = ToGrpcStatus(reason);
    if (!writing_) End(*closing_);
  }

  // Also of a call that has finished, where what was written waits for somebody to read it. The
  // call is there until OnDone(), which waits for this to be over.
  void Abandon(absl::Status reason) override {
    const std::lock_guard lock(mutex_);
    if (!closing_.has_value()) closing_ = ToGrpcStatus(reason);
    if (done_) return;
    context_.TryCancel();
    if (!writing_) End(*closing_);
  }

 private:
  PartStream(Source source, grpc::CallbackServerContext& context)
      : source_(std::move(source)), context_(context) {}

  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    if (closing_.has_value()) return End(*closing_);
    if (!ok) return End(grpc::Status::CANCELLED);
    Next();
  }

  void OnDone() override {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    self_.reset();
  }

  // With mutex_ held.
  void Next() {
    const absl::StatusOr<bool> made = source_(part_);
    if (!made.ok()) return End(ToGrpcStatus(made.status()));
    if (!*made) return End(grpc::Status::OK);
    writing_ = true;
    this->StartWrite(&part_);
  }
  void End(const grpc::Status& status) {
    if (!std::exchange(finished_, true)) this->Finish(status);
  }

  const Source source_;
  grpc::CallbackServerContext& context_;  // Until done_.
  std::shared_ptr<PartStream> self_;      // Until OnDone().

  std::mutex mutex_;
  Message part_;
  bool writing_ = false;
  bool finished_ = false;
  bool done_ = false;
  std::optional<grpc::Status> closing_;  // What to finish with.
};

}  // namespace fedtune
