// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/blob_stream.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "coordinator/rpc/refused_call.h"
#include "fmt/format.h"
#include "rpc/chunks.h"

namespace fedtune {

BlobStream::BlobStream(Blob blob, size_t offset, OpenCalls::Place place)
    : place_(std::move(place)), blob_(std::move(blob)), offset_(offset) {
  Next();
}

void BlobStream::OnWriteDone(bool ok) {
  if (!ok) return Finish(grpc::Status::CANCELLED);
  Next();
}

void BlobStream::Next() {
  const auto rest = blob_.bytes().subspan(offset_);
  if (rest.empty()) return Finish(grpc::Status::OK);
  const size_t size = std::min(rest.size(), kChunkBytes);
  chunk_ = BlobChunkMessage(offset_, {reinterpret_cast<const char*>(rest.data()), size},
                            std::make_shared<const Blob>(blob_));
  offset_ += size;
  StartWrite(&chunk_);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* StreamBlob(absl::StatusOr<Blob> blob, uint64_t offset,
                                                       OpenCalls::Place place) {
  using Refused = RefusedCall<grpc::ServerWriteReactor<grpc::ByteBuffer>>;
  if (!blob.ok()) return new Refused(blob.status());
  if (offset > blob->size()) {
    return new Refused(absl::OutOfRangeError(
        fmt::format("the blob has {} bytes, offset {} is behind them", blob->size(), offset)));
  }
  return new BlobStream(*std::move(blob), offset, std::move(place));
}

}  // namespace fedtune
