// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fedtune {

// Messages that carry parts of a blob, made and read without a copy of their bytes.
// On the wire they are blob.proto's BlobChunk and training.proto's
// SubmitContributionRequest, as any other program writes and reads them.

// How many bytes of a blob travel in a message, which both sides hold until it is whole; in an
// upload's over a long line more (client/transport/line.h).
// With half as many they take 8 % more processor time, with twice as many no less.
inline constexpr size_t kChunkBytes = size_t{512} << 10;

// The message BlobChunk with `bytes`, which lie in `owner` and stay as they are.
grpc::ByteBuffer BlobChunkMessage(uint64_t offset, std::string_view bytes,
                                  std::shared_ptr<const void> owner);

// The message SubmitContributionRequest whose chunk it is; likewise.
grpc::ByteBuffer UploadChunkMessage(uint64_t offset, std::string_view bytes,
                                    std::shared_ptr<const void> owner);

// A chunk where it lies: in the message that it came in, which must outlive it.
struct ChunkView {
  uint64_t offset = 0;
  std::vector<std::string_view> pieces;  // One behind the other.

  uint64_t size() const {
    uint64_t size = 0;
    for (const std::string_view piece : pieces) size += piece.size();
    return size;
  }
};

// INVALID_ARGUMENT: no BlobChunk.
absl::StatusOr<ChunkView> ViewBlobChunk(grpc::ByteBuffer& message);

// The chunk in a SubmitContributionRequest. Nothing: there is anything else in it, or it
// is not of that type at all.
std::optional<ChunkView> ViewUploadChunk(grpc::ByteBuffer& message);

// The message of type T in `bytes`, which are empty afterwards. INVALID_ARGUMENT.
template <typename T>
absl::StatusOr<T> ParseMessage(grpc::ByteBuffer& bytes) {
  T message;
  if (grpc::SerializationTraits<T>::Deserialize(&bytes, &message).ok()) return message;
  return absl::InvalidArgumentError("a message that cannot be read");
}

// The bytes of `message`.
template <typename T>
grpc::ByteBuffer BytesOf(const T& message) {
  grpc::ByteBuffer bytes;
  bool own = false;
  grpc::SerializationTraits<T>::Serialize(message, &bytes, &own);
  return bytes;
}

}  // namespace fedtune
