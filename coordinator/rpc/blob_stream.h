// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/rpc/open_calls.h"
#include "coordinator/rpc/part_stream.h"
#include "coordinator/storage/blob.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"

namespace fedtune {

// Sends `blob` from `offset` on in messages BlobChunk, which refer to the blob's bytes,
// wherever these lie: nothing is copied on the way to the connection. Or a call that is
// refused because there is no blob or because it is shorter than `offset`. It keeps `place`
// for as long as it lasts.
grpc::ServerWriteReactor<grpc::ByteBuffer>* StreamBlob(absl::StatusOr<Blob> blob, uint64_t offset,
                                                       grpc::CallbackServerContext& context,
                                                       const StreamObserver& begun,
                                                       OpenCalls::Place place = nullptr);

// A call for a blob that is refused.
grpc::ServerWriteReactor<grpc::ByteBuffer>* RefuseBlob(const absl::Status& why);

}  // namespace fedtune
