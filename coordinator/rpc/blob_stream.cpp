// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/blob_stream.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "coordinator/rpc/refused_call.h"
#include "fmt/format.h"
#include "rpc/chunks.h"

namespace fedtune {

grpc::ServerWriteReactor<grpc::ByteBuffer>* StreamBlob(absl::StatusOr<Blob> blob, uint64_t offset,
                                                       grpc::CallbackServerContext& context,
                                                       const StreamObserver& begun,
                                                       OpenCalls::Place place) {
  if (!blob.ok()) return RefuseBlob(blob.status());
  if (offset > blob->size()) {
    return RefuseBlob(absl::OutOfRangeError(
        fmt::format("the blob has {} bytes, offset {} is behind them", blob->size(), offset)));
  }
  const auto next_chunk = [blob = std::make_shared<const Blob>(*std::move(blob)), offset,
                           place = std::move(place)](grpc::ByteBuffer& chunk) mutable {
    const auto rest = blob->bytes().subspan(offset);
    if (rest.empty()) return absl::StatusOr<bool>(false);
    const size_t size = std::min(rest.size(), kChunkBytes);
    chunk = BlobChunkMessage(offset, {reinterpret_cast<const char*>(rest.data()), size}, blob);
    offset += size;
    return absl::StatusOr<bool>(true);
  };
  return PartStream<grpc::ByteBuffer>::Begin(next_chunk, context, begun);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* RefuseBlob(const absl::Status& why) {
  return new RefusedCall<grpc::ServerWriteReactor<grpc::ByteBuffer>>(why);
}

}  // namespace fedtune
