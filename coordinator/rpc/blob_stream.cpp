// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/blob_stream.h"

#include <algorithm>
#include <utility>

#include "coordinator/rpc/refused_call.h"
#include "coordinator/rpc/status_conversion.h"
#include "fmt/format.h"
#include "rpc/chunks.h"

namespace fedtune {

BlobStream* BlobStream::Begin(Blob blob, size_t offset, grpc::CallbackServerContext& context,
                              OpenCalls::Place place) {
  const std::shared_ptr<BlobStream> stream(
      new BlobStream(std::move(blob), offset, context, std::move(place)));
  stream->self_ = stream;
  const std::lock_guard lock(stream->mutex_);
  stream->Next();
  return stream.get();
}

BlobStream::BlobStream(Blob blob, size_t offset, grpc::CallbackServerContext& context,
                       OpenCalls::Place place)
    : place_(std::move(place)), blob_(std::move(blob)), context_(context), offset_(offset) {}

void BlobStream::OnWriteDone(bool ok) {
  const std::lock_guard lock(mutex_);
  writing_ = false;
  if (closing_.has_value()) return End(*closing_);
  if (!ok) return End(grpc::Status::CANCELLED);
  Next();
}

void BlobStream::Next() {
  const auto rest = blob_.bytes().subspan(offset_);
  if (rest.empty()) return End(grpc::Status::OK);
  const size_t size = std::min(rest.size(), kChunkBytes);
  chunk_ = BlobChunkMessage(offset_, {reinterpret_cast<const char*>(rest.data()), size},
                            std::make_shared<const Blob>(blob_));
  offset_ += size;
  writing_ = true;
  StartWrite(&chunk_);
}

void BlobStream::End(const grpc::Status& status) {
  if (!std::exchange(finished_, true)) Finish(status);
}

void BlobStream::Close(absl::Status reason) {
  const std::lock_guard lock(mutex_);
  if (!closing_.has_value()) closing_ = ToGrpcStatus(reason);
  if (!writing_) End(*closing_);
}

// Also of a call that has finished, where what was written waits for somebody to read it. The
// call is there until OnDone(), which waits for this to be over.
void BlobStream::Abandon(absl::Status reason) {
  const std::lock_guard lock(mutex_);
  if (!closing_.has_value()) closing_ = ToGrpcStatus(reason);
  if (done_) return;
  context_.TryCancel();
  if (!writing_) End(*closing_);
}

void BlobStream::OnDone() {
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  self_.reset();
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* StreamBlob(absl::StatusOr<Blob> blob, uint64_t offset,
                                                       grpc::CallbackServerContext& context,
                                                       const BlobStreamObserver& begun,
                                                       OpenCalls::Place place) {
  if (!blob.ok()) return RefuseBlob(blob.status());
  if (offset > blob->size()) {
    return RefuseBlob(absl::OutOfRangeError(
        fmt::format("the blob has {} bytes, offset {} is behind them", blob->size(), offset)));
  }
  BlobStream* const stream = BlobStream::Begin(*std::move(blob), offset, context, std::move(place));
  begun(stream->shared_from_this());
  return stream;
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* RefuseBlob(const absl::Status& why) {
  return new RefusedCall<grpc::ServerWriteReactor<grpc::ByteBuffer>>(why);
}

}  // namespace fedtune
