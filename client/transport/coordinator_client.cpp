// SPDX-License-Identifier: Apache-2.0

#include "client/transport/coordinator_client.h"

#include <utility>

#include "base/clock.h"
#include "base/status.h"
#include "client/transport/conversion.h"
#include "client/transport/log_proofs.h"
#include "client/transport/transfers.h"
#include "proto/fedtune/v1/training.grpc.pb.h"
#include "rpc/channel.h"

namespace fedtune {
namespace {

Digest ListInUse(const ChannelOptions& options) {
  return options.revocations == nullptr ? Digest() : options.revocations->list()->digest();
}

}  // namespace

class CoordinatorClient::Explainer final : public SessionListener {
 public:
  Explainer(SessionListener& listener, CoordinatorClient& client)
      : listener_(listener), client_(client) {}

  absl::Status OnWelcome(const Welcome& welcome) override { return listener_.OnWelcome(welcome); }
  absl::Status OnInstruction(const Instruction& instruction) override {
    return listener_.OnInstruction(instruction);
  }
  void OnLost(const absl::Status& reason, absl::Duration retry_in) override {
    if (absl::IsUnauthenticated(reason)) client_.Reopen();
    client_.ForgetLine();
    listener_.OnLost(ExplainFailure(reason, client_.options_.address), retry_in);
  }

 private:
  SessionListener& listener_;
  CoordinatorClient& client_;
};

CoordinatorClient::CoordinatorClient(const ChannelOptions& options, Greeting greeting,
                                     SessionListener& listener)
    : options_(options),
      judged_by_(ListInUse(options)),
      channel_(OpenChannel(options)),
      explainer_(std::make_unique<Explainer>(listener, *this)),
      session_([this] { return connection(); }, std::move(greeting), *explainer_) {}

Connection CoordinatorClient::connection() const {
  const std::lock_guard lock(mutex_);
  return {.channel = channel_, .left = left_.get_token(), .trips = trips_};
}

void CoordinatorClient::Reopen() {
  std::shared_ptr<grpc::Channel> opened = OpenChannel(options_);
  const std::lock_guard lock(mutex_);
  channel_.swap(opened);
}

void CoordinatorClient::ForgetLine() {
  const std::lock_guard lock(mutex_);
  trips_ = std::make_shared<RoundTrips>();
}

void CoordinatorClient::HeedRevocations() {
  // Looked up before the new channel is opened: no handshake there judges by an older one.
  const Digest in_use = ListInUse(options_);
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(judged_by_, in_use) == in_use) return;
  }
  std::shared_ptr<grpc::Channel> channel = OpenChannel(options_);
  std::stop_source left;
  {
    const std::lock_guard lock(mutex_);
    channel_.swap(channel);
    left_.swap(left);
  }
  left.request_stop();
}

void CoordinatorClient::Send(const Reply& reply) { session_.Send(reply); }

absl::StatusOr<std::vector<float>> CoordinatorClient::FetchAdapter(
    WantedAdapter wanted, std::stop_token stop, const TransferObserver& observer) {
  return fedtune::FetchAdapter(
      [this] { return connection(); },
      {.wanted = std::move(wanted), .stop = std::move(stop), .observer = observer});
}

absl::Status CoordinatorClient::Submit(std::shared_ptr<const Contribution> contribution,
                                       std::stop_token stop) {
  return Answered(SubmitContribution(connection(), std::move(contribution), stop));
}

absl::Status CoordinatorClient::SubmitMasked(std::shared_ptr<const MaskedContribution> contribution,
                                             std::stop_token stop) {
  return Answered(SubmitContribution(connection(), std::move(contribution), stop));
}

absl::StatusOr<LogProof> CoordinatorClient::ProveLog(const LogQuestion& question,
                                                     std::stop_token stop) {
  return fedtune::ProveLog([this] { return connection(); }, question, stop);
}

// A certificate that is not good any more is renewed, and shown with the next session.
absl::Status CoordinatorClient::Answered(const absl::Status& status) const {
  absl::Status explained = ExplainLostConnection(status, options_.address);
  if (!absl::IsUnauthenticated(explained)) return explained;
  return absl::UnavailableError(std::string(Message(explained)));
}

absl::StatusOr<absl::Duration> ProbeCoordinator(const ChannelOptions& options,
                                                absl::Duration timeout) {
  const auto stub = v1::Training::NewStub(OpenChannel(options));
  const SystemClock clock;
  const absl::Duration start = clock.Monotonic();
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(clock.Now() + timeout));
  // No blob has this digest: whoever may fetch at all is told so.
  v1::FetchBlobRequest request;
  request.set_sha256(Digest().ToBinary());
  const auto reader = stub->FetchBlob(&context, request);
  v1::BlobChunk chunk;
  while (reader->Read(&chunk)) {
  }
  const absl::Status status = StatusFromRpc(reader->Finish());
  if (status.ok() || absl::IsNotFound(status)) return clock.Monotonic() - start;
  return ExplainFailure(status, options.address);
}

}  // namespace fedtune
