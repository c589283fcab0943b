// SPDX-License-Identifier: Apache-2.0

#include "rpc/chunks.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <algorithm>
#include <array>
#include <utility>

#include "proto/fedtune/v1/training.pb.h"

namespace fedtune {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;
using Chunk = v1::BlobChunk;
using Request = v1::SubmitContributionRequest;

constexpr uint32_t TagOf(int field, WireFormatLite::WireType type) {
  return WireFormatLite::MakeTag(field, type);
}

constexpr uint32_t kOffset = TagOf(Chunk::kOffsetFieldNumber, WireFormatLite::WIRETYPE_VARINT);
constexpr uint32_t kData =
    TagOf(Chunk::kDataFieldNumber, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
constexpr uint32_t kChunk =
    TagOf(Request::kChunkFieldNumber, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);

// What stands before a chunk's bytes: tags, offset and lengths.
class Prefix {
 public:
  void Add(uint64_t number) {
    uint8_t* const end = CodedOutputStream::WriteVarint64ToArray(number, bytes_.data() + size_);
    size_ = static_cast<size_t>(end - bytes_.data());
  }
  size_t size() const { return size_; }
  std::string_view bytes() const { return {reinterpret_cast<const char*>(bytes_.data()), size_}; }

 private:
  std::array<uint8_t, 64> bytes_{};
  size_t size_ = 0;
};

// Of a BlobChunk with `size` bytes.
Prefix ChunkPrefix(uint64_t offset, uint64_t size) {
  Prefix prefix;
  if (offset > 0) {
    prefix.Add(kOffset);
    prefix.Add(offset);
  }
  prefix.Add(kData);
  prefix.Add(size);
  return prefix;
}

grpc::Slice SliceOf(std::string_view bytes) { return {bytes.data(), bytes.size()}; }

void ForgetOwner(void* owner) { delete static_cast<std::shared_ptr<const void>*>(owner); }

// A view of `bytes` that keeps `owner`. gRPC does not write to it.
grpc::Slice SliceIn(std::string_view bytes, std::shared_ptr<const void> owner) {
  return {const_cast<char*>(bytes.data()), bytes.size(), ForgetOwner,
          new std::shared_ptr<const void>(std::move(owner))};
}

bool ReadData(CodedInputStream& in, ChunkView& chunk) {
  uint32_t size = 0;
  if (!in.ReadVarint32(&size)) return false;
  chunk.pieces.clear();
  while (size > 0) {
    const void* data = nullptr;
    int there = 0;
    if (!in.GetDirectBufferPointer(&data, &there)) return false;
    const uint32_t part = std::min(size, static_cast<uint32_t>(there));
    chunk.pieces.emplace_back(static_cast<const char*>(data), part);
    if (!in.Skip(static_cast<int>(part))) return false;
    size -= part;
  }
  return true;
}

// Up to the end of the input, or its limit.
bool ReadChunk(CodedInputStream& in, ChunkView& chunk) {
  while (const uint32_t tag = in.ReadTag()) {
    const bool read = tag == kOffset ? in.ReadVarint64(&chunk.offset)
                      : tag == kData ? ReadData(in, chunk)
                                     : WireFormatLite::SkipField(&in, tag);
    if (!read) return false;
  }
  return in.ConsumedEntireMessage();
}

bool ReadRequest(CodedInputStream& in, ChunkView& chunk) {
  uint32_t size = 0;
  if (in.ReadTag() != kChunk || !in.ReadVarint32(&size)) return false;
  const CodedInputStream::Limit limit = in.PushLimit(static_cast<int>(size));
  if (!ReadChunk(in, chunk) || in.BytesUntilLimit() != 0) return false;
  in.PopLimit(limit);
  return in.ReadTag() == 0 && in.ConsumedEntireMessage();
}

}  // namespace

grpc::ByteBuffer BlobChunkMessage(uint64_t offset, std::string_view bytes,
                                  std::shared_ptr<const void> owner) {
  const std::array<grpc::Slice, 2> slices = {SliceOf(ChunkPrefix(offset, bytes.size()).bytes()),
                                             SliceIn(bytes, std::move(owner))};
  return {slices.data(), slices.size()};
}

grpc::ByteBuffer UploadChunkMessage(uint64_t offset, std::string_view bytes,
                                    std::shared_ptr<const void> owner) {
  const Prefix inner = ChunkPrefix(offset, bytes.size());
  Prefix outer;
  outer.Add(kChunk);
  outer.Add(inner.size() + bytes.size());
  const std::array<grpc::Slice, 3> slices = {SliceOf(outer.bytes()), SliceOf(inner.bytes()),
                                             SliceIn(bytes, std::move(owner))};
  return {slices.data(), slices.size()};
}

absl::StatusOr<ChunkView> ViewBlobChunk(grpc::ByteBuffer& message) {
  grpc::ProtoBufferReader reader(&message);
  CodedInputStream in(&reader);
  ChunkView chunk;
  if (ReadChunk(in, chunk)) return chunk;
  return absl::InvalidArgumentError("a message that is no part of a blob");
}

std::optional<ChunkView> ViewUploadChunk(grpc::ByteBuffer& message) {
  grpc::ProtoBufferReader reader(&message);
  CodedInputStream in(&reader);
  ChunkView chunk;
  if (ReadRequest(in, chunk)) return chunk;
  return std::nullopt;
}

}  // namespace fedtune
