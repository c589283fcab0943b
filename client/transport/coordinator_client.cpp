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
    listener_.OnLost(ExplainFailure(reason, client_.options_.address), retry_in);
  }

 private:
  SessionListener& listener_;
  CoordinatorClient& client_;
};

CoordinatorClient::CoordinatorClient(const ChannelOptions& options, Greeting greeting,
                                     SessionListener& listener)
    : options_(options),
      channel_(OpenChannel(options)),
      explainer_(std::make_unique<Explainer>(listener, *this)),
      session_([this] { return channel(); }, std::move(greeting), *explainer_) {}

std::shared_ptr<grpc::Channel> CoordinatorClient::channel() const {
  const std::lock_guard lock(mutex_);
  return channel_;
}

void CoordinatorClient::Reopen() {
  std::shared_ptr<grpc::Channel> opened = OpenChannel(options_);
  const std::lock_guard lock(mutex_);
  channel_.swap(opened);
}

void CoordinatorClient::LeaveIfRevoked() {
  if (options_.revocations == nullptr || options_.coordinator == nullptr) return;
  const auto shown = options_.coordinator->Get();
  if (!shown.has_value() || options_.revocations->CheckNotRevoked(*shown).ok()) return;
  Reopen();
  session_.HangUp();
}

void CoordinatorClient::Send(const Reply& reply) { session_.Send(reply); }

absl::StatusOr<std::vector<float>> CoordinatorClient::FetchAdapter(
    WantedAdapter wanted, std::stop_token stop, const TransferObserver& observer) {
  return fedtune::FetchAdapter(
      [this] { return channel(); },
      {.wanted = std::move(wanted), .stop = std::move(stop), .observer = observer});
}

absl::Status CoordinatorClient::Submit(const Contribution& contribution, std::stop_token stop) {
  return Answered(SubmitContribution(*channel(), contribution, stop));
}

absl::Status CoordinatorClient::SubmitMasked(const MaskedContribution& contribution,
                                             std::stop_token stop) {
  return Answered(SubmitContribution(*channel(), contribution, stop));
}

absl::StatusOr<LogProof> CoordinatorClient::ProveLog(const LogQuestion& question,
                                                     std::stop_token stop) {
  return fedtune::ProveLog([this] { return channel(); }, question, stop);
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
