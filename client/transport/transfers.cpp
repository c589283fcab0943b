// SPDX-License-Identifier: Apache-2.0

#include "client/transport/transfers.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "absl/strings/numbers.h"
#include "aggregation/adapter_bytes.h"
#include "base/fail_point.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "client/transport/backoff.h"
#include "client/transport/conversion.h"
#include "fmt/format.h"
#include "rpc/channel.h"
#include "rpc/upload.h"

namespace fedtune {
namespace {

constexpr size_t kChunkBytes = 1 << 20;

absl::Status Stopped() { return absl::CancelledError("stopped"); }

// What has come of a blob. Its digest grows with it, while more is on its way.
struct PartialBlob {
  std::string bytes = {};
  Sha256 hash = {};
};

// Appends one chunk, which must go on where `blob` ends.
absl::Status Append(const v1::BlobChunk& chunk, const BlobRequest& request, PartialBlob& partial) {
  std::string& blob = partial.bytes;
  if (chunk.offset() != blob.size() || chunk.data().size() > request.size - blob.size()) {
    return absl::DataLossError(
        fmt::format("the coordinator sent bytes {} to {} of {}, where {} were expected from {} on",
                    chunk.offset(), chunk.offset() + chunk.data().size(), request.digest.ToString(),
                    request.size, blob.size()));
  }
  blob += chunk.data();
  partial.hash.Update(chunk.data());
  request.observer(blob.size(), request.size);
  return absl::OkStatus();
}

// Reads on from where `blob` ends until the stream does.
absl::Status ReadOn(v1::Training::Stub& stub, const BlobRequest& request, PartialBlob& blob) {
  grpc::ClientContext context;
  const std::stop_callback cancel(request.stop, [&context] { context.TryCancel(); });
  v1::FetchBlobRequest message;
  message.set_sha256(request.digest.bytes.data(), request.digest.bytes.size());
  message.set_offset(blob.bytes.size());
  const auto reader = stub.FetchBlob(&context, message);
  v1::BlobChunk chunk;
  while (reader->Read(&chunk)) {
    if (const absl::Status status = Append(chunk, request, blob); !status.ok()) {
      context.TryCancel();
      reader->Finish();
      return status;
    }
  }
  return StatusFromRpc(reader->Finish());
}

// False: stopped meanwhile.
bool Pause(absl::Duration duration, std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  stopped.wait_for(lock, stop, absl::ToChronoMilliseconds(duration), [] { return false; });
  return !stop.stop_requested();
}

absl::StatusOr<std::string> Verified(const BlobRequest& request, PartialBlob blob) {
  const size_t size = blob.bytes.size();
  if (size == request.size && std::move(blob.hash).Finish() == request.digest) {
    return std::move(blob.bytes);
  }
  return absl::DataLossError(fmt::format("{} of {} came from the coordinator, and they are not {}",
                                         HumanBytes(size), HumanBytes(request.size),
                                         request.digest.ToString()));
}

// Where a large contribution is to go on: what an earlier call has brought there is
// not sent again. 0 if the coordinator does not say.
size_t ReceivedBefore(grpc::ClientWriter<v1::SubmitContributionRequest>& writer,
                      const grpc::ClientContext& context, size_t size) {
  writer.WaitForInitialMetadata();
  const auto& metadata = context.GetServerInitialMetadata();
  const auto found = metadata.find(kReceivedBytes);
  uint64_t received = 0;
  const bool is_number =
      found != metadata.end() &&
      absl::SimpleAtoi(absl::string_view(found->second.data(), found->second.size()), &received);
  return is_number && received <= size ? received : 0;
}

// Stops where the coordinator does not listen (any more); Finish() says why.
void WriteContribution(grpc::ClientWriter<v1::SubmitContributionRequest>& writer,
                       const grpc::ClientContext& context, v1::ContributionHeader header,
                       std::string_view bytes) {
  v1::SubmitContributionRequest request;
  *request.mutable_header() = std::move(header);
  if (!writer.Write(request)) return;
  size_t offset = bytes.size() > kLargeUpload ? ReceivedBefore(writer, context, bytes.size()) : 0;
  for (; offset < bytes.size(); offset += kChunkBytes) {
    v1::BlobChunk& chunk = *request.mutable_chunk();
    chunk.set_offset(offset);
    const std::string_view data = bytes.substr(offset, kChunkBytes);
    chunk.set_data(data.data(), data.size());
    ReachFailPoint(FailPoint::kUploadChunk);
    if (!writer.Write(request)) return;
  }
  writer.WritesDone();
}

absl::Status Submit(v1::Training::Stub& stub, v1::ContributionHeader header, std::string_view bytes,
                    const std::stop_token& stop) {
  grpc::ClientContext context;
  const std::stop_callback cancel(stop, [&context] { context.TryCancel(); });
  v1::SubmitContributionResponse response;
  const auto writer = stub.SubmitContribution(&context, &response);
  WriteContribution(*writer, context, std::move(header), bytes);
  const absl::Status status = StatusFromRpc(writer->Finish());
  if (status.ok()) ReachFailPoint(FailPoint::kUploadTaken);
  return stop.stop_requested() && !status.ok() ? Stopped() : status;
}

}  // namespace

absl::StatusOr<std::string> FetchBlob(v1::Training::Stub& stub, const BlobRequest& request) {
  PartialBlob blob;
  blob.bytes.reserve(request.size);
  Backoff backoff;
  while (true) {
    const size_t before = blob.bytes.size();
    const absl::Status status = ReadOn(stub, request, blob);
    if (request.stop.stop_requested()) return Stopped();
    if (status.ok()) break;
    if (!absl::IsUnavailable(status)) return Annotate(status, "adapter");
    if (blob.bytes.size() > before) backoff.Reset();
    if (!Pause(backoff.Next(), request.stop)) return Stopped();
  }
  return Verified(request, std::move(blob));
}

absl::Status SubmitContribution(v1::Training::Stub& stub, const Contribution& contribution,
                                std::stop_token stop) {
  return Submit(stub, HeaderToProto(contribution), ValueBytes(contribution.delta), std::move(stop));
}

absl::Status SubmitContribution(v1::Training::Stub& stub, const MaskedContribution& contribution,
                                std::stop_token stop) {
  const Bytes& elements = contribution.elements;
  return Submit(stub, HeaderToProto(contribution),
                {reinterpret_cast<const char*>(elements.data()), elements.size()}, std::move(stop));
}

}  // namespace fedtune
