// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/statusor.h"
#include "coordinator/storage/blob.h"
#include "grpcpp/support/server_callback.h"
#include "proto/fedtune/v1/blob.pb.h"

namespace fedtune {

// Sends a blob from an offset on, the next chunk when the last one has been
// taken off its hands. Deletes itself.
class BlobStream final : public grpc::ServerWriteReactor<v1::BlobChunk> {
 public:
  BlobStream(Blob blob, size_t offset);

 private:
  void OnWriteDone(bool ok) override;
  void OnDone() override { delete this; }
  void Next();

  const Blob blob_;
  size_t offset_;
  v1::BlobChunk chunk_;
};

// A stream of `blob`, or a call that is refused because there is none or because
// it is shorter than `offset`.
grpc::ServerWriteReactor<v1::BlobChunk>* StreamBlob(absl::StatusOr<Blob> blob, uint64_t offset);

}  // namespace fedtune
