// SPDX-License-Identifier: Apache-2.0

#include "rpc/chunks.h"

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/fedtune/v1/training.pb.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using fedtune::testing::HasCode;
using fedtune::testing::IsOk;

// As it may come over a connection: in slices of `size` bytes.
grpc::ByteBuffer InSlices(const std::string& bytes, size_t size) {
  std::vector<grpc::Slice> slices;
  for (size_t i = 0; i < bytes.size(); i += size) slices.emplace_back(bytes.substr(i, size));
  return {slices.data(), slices.size()};
}

std::string Joined(const ChunkView& chunk) {
  std::string bytes;
  for (const std::string_view piece : chunk.pieces) bytes += piece;
  EXPECT_EQ(bytes.size(), chunk.size());
  return bytes;
}

v1::BlobChunk ChunkOf(uint64_t offset, std::string data) {
  v1::BlobChunk chunk;
  chunk.set_offset(offset);
  chunk.set_data(std::move(data));
  return chunk;
}

v1::SubmitContributionRequest RequestOf(v1::BlobChunk chunk) {
  v1::SubmitContributionRequest request;
  *request.mutable_chunk() = std::move(chunk);
  return request;
}

// Offsets and sizes whose numbers take one byte, several, and none at all.
struct Shape {
  uint64_t offset;
  size_t size;
};
constexpr Shape kShapes[] = {{0, 0}, {0, 1}, {1, 127}, {300, 128}, {uint64_t{1} << 40, 1 << 20}};

TEST(ChunksTest, WritesWhatProtobufReads) {
  for (const auto& [offset, size] : kShapes) {
    const auto bytes = std::make_shared<const std::string>(size, 'x');
    grpc::ByteBuffer blob = BlobChunkMessage(offset, *bytes, bytes);
    const auto chunk = ParseMessage<v1::BlobChunk>(blob);
    ASSERT_THAT(chunk, IsOk());
    EXPECT_EQ(chunk->offset(), offset);
    EXPECT_EQ(chunk->data(), *bytes);
    grpc::ByteBuffer upload = UploadChunkMessage(offset, *bytes, bytes);
    const auto request = ParseMessage<v1::SubmitContributionRequest>(upload);
    ASSERT_THAT(request, IsOk());
    EXPECT_EQ(request->chunk().offset(), offset);
    EXPECT_EQ(request->chunk().data(), *bytes);
  }
}

TEST(ChunksTest, ReadsWhatProtobufWritesHoweverItIsCut) {
  for (const auto& [offset, size] : kShapes) {
    const v1::BlobChunk sent = ChunkOf(offset, std::string(size, 'x'));
    for (const size_t slice : {1, 2, 7, 8192, 4 << 20}) {
      if (size / slice > 10'000) continue;
      grpc::ByteBuffer blob = InSlices(sent.SerializeAsString(), slice);
      const auto chunk = ViewBlobChunk(blob);
      ASSERT_THAT(chunk, IsOk());
      EXPECT_EQ(chunk->offset, offset);
      EXPECT_EQ(Joined(*chunk), sent.data());
      grpc::ByteBuffer upload = InSlices(RequestOf(sent).SerializeAsString(), slice);
      const auto part = ViewUploadChunk(upload);
      ASSERT_TRUE(part.has_value());
      EXPECT_EQ(part->offset, offset);
      EXPECT_EQ(Joined(*part), sent.data());
    }
  }
}

TEST(ChunksTest, KeepsTheOwnerWhileTheMessageLives) {
  for (const auto make : {&BlobChunkMessage, &UploadChunkMessage}) {
    auto bytes = std::make_shared<const std::string>(1000, 'x');
    const std::weak_ptr<const std::string> owner = bytes;
    {
      const grpc::ByteBuffer message = make(0, *bytes, bytes);
      bytes.reset();
      EXPECT_FALSE(owner.expired());
    }
    EXPECT_TRUE(owner.expired());
  }
}

TEST(ChunksTest, SendsBytesFromWhereTheyLie) {
  const auto bytes = std::make_shared<const std::string>(1000, 'x');
  for (const auto make : {&BlobChunkMessage, &UploadChunkMessage}) {
    std::vector<grpc::Slice> slices;
    ASSERT_TRUE(make(0, *bytes, bytes).Dump(&slices).ok());
    EXPECT_EQ(static_cast<const void*>(slices.back().begin()), bytes->data());
  }
}

TEST(ChunksTest, SkipsFieldsThatItDoesNotKnow) {
  std::string bytes = ChunkOf(5, "data").SerializeAsString();
  bytes += std::string("\x1a\x03", 2) + "new";  // Field 3.
  grpc::ByteBuffer message = InSlices(bytes, 3);
  const auto chunk = ViewBlobChunk(message);
  ASSERT_THAT(chunk, IsOk());
  EXPECT_EQ(chunk->offset, 5u);
  EXPECT_EQ(Joined(*chunk), "data");
}

TEST(ChunksTest, RefusesWhatEndsTooEarly) {
  const std::string whole = ChunkOf(300, "some data").SerializeAsString();
  const std::string upload = RequestOf(ChunkOf(300, "some data")).SerializeAsString();
  for (size_t size = 1; size < whole.size(); ++size) {
    grpc::ByteBuffer message = InSlices(whole.substr(0, size), 4);
    const bool between_fields = size == 3;
    EXPECT_EQ(ViewBlobChunk(message).ok(), between_fields) << size;
  }
  for (size_t size = 0; size < upload.size(); ++size) {
    grpc::ByteBuffer message = InSlices(upload.substr(0, size), 4);
    EXPECT_FALSE(ViewUploadChunk(message).has_value()) << size;
  }
}

TEST(ChunksTest, TakesNoHeaderForAChunk) {
  v1::SubmitContributionRequest header;
  header.mutable_header()->set_run_id("run");
  grpc::ByteBuffer message = BytesOf(header);
  EXPECT_FALSE(ViewUploadChunk(message).has_value());
  std::string both = RequestOf(ChunkOf(0, "x")).SerializeAsString() + header.SerializeAsString();
  grpc::ByteBuffer mixed = InSlices(both, 100);
  EXPECT_FALSE(ViewUploadChunk(mixed).has_value());
}

TEST(ChunksTest, SaysThatAMessageCannotBeRead) {
  grpc::ByteBuffer message = InSlices("\xff\xff", 2);
  EXPECT_THAT(ParseMessage<v1::FetchBlobRequest>(message),
              HasCode(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace fedtune
