// SPDX-License-Identifier: Apache-2.0

#include "client/transport/transfers.h"

#include <grpcpp/support/sync_stream.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "aggregation/adapter_bytes.h"
#include "base/clock.h"
#include "base/fail_point.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "client/transport/backoff.h"
#include "client/transport/conversion.h"
#include "client/transport/line.h"
#include "fmt/format.h"
#include "proto/fedtune/v1/training.pb.h"
#include "rpc/chunks.h"
#include "rpc/upload.h"

namespace fedtune {
namespace {

// The calls whose messages are bytes to this side: a chunk is not copied into one.
using grpc::internal::RpcMethod;
constexpr char kFetchBlob[] = "/fedtune.v1.Training/FetchBlob";
constexpr char kSubmitContribution[] = "/fedtune.v1.Training/SubmitContribution";
using BlobReader = grpc::ClientReader<grpc::ByteBuffer>;
using ContributionWriter = grpc::ClientWriter<grpc::ByteBuffer>;

std::unique_ptr<BlobReader> CallFetchBlob(grpc::ChannelInterface& channel,
                                          grpc::ClientContext& context,
                                          const v1::FetchBlobRequest& request) {
  return std::unique_ptr<BlobReader>(grpc::internal::ClientReaderFactory<grpc::ByteBuffer>::Create(
      &channel, RpcMethod(kFetchBlob, RpcMethod::SERVER_STREAMING), &context, request));
}

std::unique_ptr<ContributionWriter> CallSubmitContribution(
    grpc::ChannelInterface& channel, grpc::ClientContext& context,
    v1::SubmitContributionResponse& response) {
  return std::unique_ptr<ContributionWriter>(
      grpc::internal::ClientWriterFactory<grpc::ByteBuffer>::Create(
          &channel, RpcMethod(kSubmitContribution, RpcMethod::CLIENT_STREAMING), &context,
          &response));
}

// For an adapter, on whatever line.
constexpr absl::Duration kLongestWait = absl::Hours(1);

absl::Status Stopped() { return absl::CancelledError("stopped"); }

// What has come of an adapter, where it is to stay. Its digest grows with it, while more
// is on its way.
class PartialAdapter {
 public:
  // In `wanted.storage`, if it fits.
  explicit PartialAdapter(WantedAdapter& wanted) : values_(std::move(wanted.storage)) {
    const auto count = static_cast<size_t>(wanted.value_count);
    if (values_.size() == count) return;
    values_ = std::vector<float>();  // Rather than two of them at once; {} would keep it.
    values_.reserve(count);
  }

  uint64_t size() const { return size_; }

  // Piece by piece, so that what is set to zero before is in the cache still.
  void Append(std::string_view piece) {
    hash_.Update(piece);
    const size_t count = (size_ + piece.size() + sizeof(float) - 1) / sizeof(float);
    if (values_.size() < count) values_.resize(count);
    std::memcpy(reinterpret_cast<char*>(values_.data()) + size_, piece.data(), piece.size());
    size_ += piece.size();
  }

  Digest TakeDigest() { return std::move(hash_).Finish(); }
  std::vector<float> TakeValues() { return std::move(values_); }

 private:
  std::vector<float> values_;
  uint64_t size_ = 0;  // In bytes: the last value may have come in part.
  Sha256 hash_;
};

// Appends one chunk, which must go on where `adapter` ends.
absl::Status Append(const ChunkView& chunk, const AdapterRequest& request,
                    PartialAdapter& adapter) {
  if (chunk.offset != adapter.size() || chunk.size() > request.size() - adapter.size()) {
    return absl::DataLossError(
        fmt::format("the coordinator sent bytes {} to {} of {}, where {} were expected from {} on",
                    chunk.offset, chunk.offset + chunk.size(), request.wanted.digest.ToString(),
                    request.size(), adapter.size()));
  }
  for (const std::string_view piece : chunk.pieces) {
    if (!piece.empty()) adapter.Append(piece);
  }
  request.observer(adapter.size(), request.size());
  return absl::OkStatus();
}

// Reads on from where `adapter` ends until the stream does. UNAVAILABLE, among else: nothing
// has come for `longest_silence`.
absl::Status ReadOn(const Connection& connection, const AdapterRequest& request,
                    absl::Duration longest_silence, PartialAdapter& adapter) {
  ConnectedCall call(connection, request.stop);
  v1::FetchBlobRequest message;
  message.set_sha256(request.wanted.digest.ToBinary());
  message.set_offset(adapter.size());
  const auto reader = CallFetchBlob(*connection.channel, call.context(), message);
  StallWatch watch(call.context(), longest_silence);
  grpc::ByteBuffer bytes;
  while (reader->Read(&bytes)) {
    watch.Progress();
    const absl::StatusOr<ChunkView> chunk = ViewBlobChunk(bytes);
    absl::Status status = chunk.ok() ? Append(*chunk, request, adapter)
                                     : absl::DataLossError(chunk.status().message());
    if (!status.ok()) {
      call.context().TryCancel();
      reader->Finish();
      return status;
    }
  }
  const grpc::Status end = reader->Finish();
  if (!end.ok() && watch.has_stalled() && !request.stop.stop_requested()) {
    return absl::UnavailableError(
        fmt::format("nothing has come of it for {}", absl::FormatDuration(longest_silence)));
  }
  return call.Outcome(end);
}

absl::StatusOr<std::vector<float>> Verified(const AdapterRequest& request, PartialAdapter adapter) {
  const uint64_t size = adapter.size();
  if (size == request.size() && adapter.TakeDigest() == request.wanted.digest) {
    return adapter.TakeValues();
  }
  return absl::DataLossError(fmt::format("{} of {} came from the coordinator, and they are not {}",
                                         HumanBytes(size), HumanBytes(request.size()),
                                         request.wanted.digest.ToString()));
}

// Where a large contribution is to go on: what an earlier call has brought there is
// not sent again. Nothing: the coordinator does not say.
std::optional<size_t> ReceivedBefore(ContributionWriter& writer, const grpc::ClientContext& context,
                                     size_t size) {
  writer.WaitForInitialMetadata();
  const auto& metadata = context.GetServerInitialMetadata();
  const auto found = metadata.find(kReceivedBytes);
  uint64_t received = 0;
  const bool is_number =
      found != metadata.end() &&
      absl::SimpleAtoi(absl::string_view(found->second.data(), found->second.size()), &received);
  if (!is_number || received > size) return std::nullopt;
  return received;
}

struct Upload {
  v1::ContributionHeader header;
  std::string_view bytes;
  std::shared_ptr<const void> owner;  // Of the bytes, which may wait when the call has ended.
};

// Stops where the coordinator does not listen (any more); Finish() says why.
void WriteContribution(ContributionWriter& writer, const grpc::ClientContext& context,
                       const Upload& upload, RoundTrips& trips) {
  const SystemClock clock;
  const std::string_view bytes = upload.bytes;
  v1::SubmitContributionRequest first;
  *first.mutable_header() = upload.header;
  absl::Duration before = clock.Monotonic();
  if (!writer.Write(BytesOf(first))) return;
  size_t offset = 0;
  if (bytes.size() > kLargeUpload) {
    const std::optional<size_t> received = ReceivedBefore(writer, context, bytes.size());
    if (received.has_value()) trips.Note(clock.Monotonic() - before);
    offset = received.value_or(0);
  }
  MessageSize size(trips.shortest());
  while (offset < bytes.size()) {
    ReachFailPoint(FailPoint::kUploadChunk);
    const std::string_view chunk = bytes.substr(offset, size.next());
    before = clock.Monotonic();
    if (!writer.Write(UploadChunkMessage(offset, chunk, upload.owner))) return;
    size.Took(clock.Monotonic() - before);
    offset += chunk.size();
  }
  writer.WritesDone();
}

absl::Status Submit(const Connection& connection, const Upload& upload,
                    const std::stop_token& stop) {
  ConnectedCall call(connection, stop);
  v1::SubmitContributionResponse response;
  const auto writer = CallSubmitContribution(*connection.channel, call.context(), response);
  WriteContribution(*writer, call.context(), upload, *connection.trips);
  absl::Status status = call.Outcome(writer->Finish());
  if (status.ok()) ReachFailPoint(FailPoint::kUploadTaken);
  return status;
}

}  // namespace

absl::StatusOr<std::vector<float>> FetchAdapter(const ConnectionGiver& connection,
                                                AdapterRequest request) {
  PartialAdapter adapter(request.wanted);
  Backoff backoff;
  absl::Duration silence = request.longest_silence;
  while (true) {
    const uint64_t before = adapter.size();
    const absl::Status status = ReadOn(connection(), request, silence, adapter);
    if (request.stop.stop_requested()) return Stopped();
    if (status.ok()) break;
    if (!MayGoBetter(status)) return Annotate(status, "adapter");
    if (adapter.size() > before) backoff.Reset();
    silence =
        adapter.size() > before ? request.longest_silence : std::min(2 * silence, kLongestWait);
    if (!Pause(backoff.Next(), request.stop)) return Stopped();
  }
  return Verified(request, std::move(adapter));
}

absl::Status SubmitContribution(const Connection& connection,
                                std::shared_ptr<const Contribution> contribution,
                                const std::stop_token& stop) {
  const Contribution& handed_in = *contribution;
  return Submit(connection,
                {.header = HeaderToProto(handed_in),
                 .bytes = ValueBytes(handed_in.delta),
                 .owner = std::move(contribution)},
                stop);
}

absl::Status SubmitContribution(const Connection& connection,
                                std::shared_ptr<const MaskedContribution> contribution,
                                const std::stop_token& stop) {
  const MaskedContribution& handed_in = *contribution;
  const Bytes& elements = handed_in.elements;
  return Submit(connection,
                {.header = HeaderToProto(handed_in),
                 .bytes = {reinterpret_cast<const char*>(elements.data()), elements.size()},
                 .owner = std::move(contribution)},
                stop);
}

}  // namespace fedtune
