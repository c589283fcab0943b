// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/statusor.h"
#include "coordinator/rpc/open_calls.h"
#include "coordinator/storage/blob.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"

namespace fedtune {

// Sends a blob from an offset on in messages BlobChunk, the next one when the last one
// has been taken off its hands. They refer to the blob's bytes, wherever these lie:
// nothing is copied on the way to the connection. Deletes itself.
class BlobStream final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  BlobStream(Blob blob, size_t offset, OpenCalls::Place place);

 private:
  void OnWriteDone(bool ok) override;
  void OnDone() override { delete this; }
  void Next();

  const OpenCalls::Place place_;
  const Blob blob_;
  size_t offset_;
  grpc::ByteBuffer chunk_;
};

// A stream of `blob`, or a call that is refused because there is none or because
// it is shorter than `offset`. It keeps `place` for as long as it lasts.
grpc::ServerWriteReactor<grpc::ByteBuffer>* StreamBlob(absl::StatusOr<Blob> blob, uint64_t offset,
                                                       OpenCalls::Place place = nullptr);

}  // namespace fedtune
