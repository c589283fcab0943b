// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "absl/status/statusor.h"
#include "coordinator/rpc/open_calls.h"
#include "coordinator/rpc/open_streams.h"
#include "coordinator/storage/blob.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"

namespace fedtune {

// Sends a blob from an offset on in messages BlobChunk, the next one when the last one
// has been taken off its hands. They refer to the blob's bytes, wherever these lie:
// nothing is copied on the way to the connection. Thread-safe; keeps itself alive until
// the call is over.
class BlobStream final : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                         public StandingStream,
                         public std::enable_shared_from_this<BlobStream> {
 public:
  static BlobStream* Begin(Blob blob, size_t offset, grpc::CallbackServerContext& context,
                           OpenCalls::Place place);

  void Close(absl::Status reason) override;
  void Abandon(absl::Status reason) override;

 private:
  BlobStream(Blob blob, size_t offset, grpc::CallbackServerContext& context,
             OpenCalls::Place place);

  void OnWriteDone(bool ok) override;
  void OnDone() override;

  // With mutex_ held.
  void Next();
  void End(const grpc::Status& status);

  const OpenCalls::Place place_;
  const Blob blob_;
  grpc::CallbackServerContext& context_;  // Until done_.
  std::shared_ptr<BlobStream> self_;      // Until OnDone().

  std::mutex mutex_;
  size_t offset_;
  grpc::ByteBuffer chunk_;
  bool writing_ = false;
  bool finished_ = false;
  bool done_ = false;
  std::optional<grpc::Status> closing_;  // What to finish with.
};

// Is told of a stream that begins.
using BlobStreamObserver = std::function<void(const std::shared_ptr<StandingStream>& stream)>;

// A stream of `blob`, or a call that is refused because there is none or because
// it is shorter than `offset`. It keeps `place` for as long as it lasts.
grpc::ServerWriteReactor<grpc::ByteBuffer>* StreamBlob(absl::StatusOr<Blob> blob, uint64_t offset,
                                                       grpc::CallbackServerContext& context,
                                                       const BlobStreamObserver& begun,
                                                       OpenCalls::Place place = nullptr);

// A call for a blob that is refused.
grpc::ServerWriteReactor<grpc::ByteBuffer>* RefuseBlob(const absl::Status& why);

}  // namespace fedtune
