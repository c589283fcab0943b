// SPDX-License-Identifier: Apache-2.0

// A chunk as it lies in a message: what is seen of it without a copy is what protobuf
// makes of the message, if that takes it at all (it refuses tags that are written longer
// than they need be).

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "proto/fedtune/v1/training.pb.h"
#include "rpc/chunks.h"
#include "tests/fuzz/quiet_protobuf.h"

namespace {

// The bytes in slices of `size`, as they may come over a connection.
grpc::ByteBuffer InSlices(const std::string& bytes, size_t size) {
  std::vector<grpc::Slice> slices;
  for (size_t i = 0; i < bytes.size(); i += size) slices.emplace_back(bytes.substr(i, size));
  return {slices.data(), slices.size()};
}

bool IsSame(const fedtune::ChunkView& view, const fedtune::v1::BlobChunk& chunk) {
  std::string bytes;
  for (const std::string_view piece : view.pieces) bytes += piece;
  return view.offset == chunk.offset() && bytes == chunk.data();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using fedtune::Check;
  if (size == 0) return 0;
  const size_t slice = std::max<size_t>(data[0], 1);
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  grpc::ByteBuffer message = InSlices(bytes, slice);
  if (const auto view = fedtune::ViewUploadChunk(message); view.has_value()) {
    fedtune::v1::SubmitContributionRequest request;
    Check(!request.ParseFromString(bytes) || IsSame(*view, request.chunk()), "the same chunk");
  }
  grpc::ByteBuffer again = InSlices(bytes, slice);
  if (const auto view = fedtune::ViewBlobChunk(again); view.ok()) {
    fedtune::v1::BlobChunk chunk;
    Check(!chunk.ParseFromString(bytes) || IsSame(*view, chunk), "the same chunk");
  }
  return 0;
}
