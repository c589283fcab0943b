// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/round/coordinator_link.h"
#include "client/transport/session.h"
#include "rpc/channel.h"

namespace fedtune {

// The coordinator over gRPC. The standing session begins with this object and
// ends with it. Where the coordinator does not accept the certificate, the next
// session is held over a new connection: only a handshake shows a renewed one.
// Thread-safe.
class CoordinatorClient final : public CoordinatorLink {
 public:
  // `listener` must outlive this object.
  CoordinatorClient(const ChannelOptions& options, Greeting greeting, SessionListener& listener);

  // Ends the session with a coordinator whose certificate is revoked by now; the next one,
  // over a new connection, is with one that is not. To be called now and then.
  void LeaveIfRevoked();

  void Send(const Reply& reply) override;
  absl::StatusOr<std::vector<float>> FetchAdapter(WantedAdapter wanted, std::stop_token stop,
                                                  const TransferObserver& observer) override;
  absl::Status Submit(const Contribution& contribution, std::stop_token stop) override;
  absl::Status SubmitMasked(const MaskedContribution& contribution, std::stop_token stop) override;
  absl::StatusOr<LogProof> ProveLog(const LogQuestion& question, std::stop_token stop) override;

 private:
  // Hands on what the session says, in words for people.
  class Explainer;

  std::shared_ptr<grpc::Channel> channel() const;
  void Reopen();
  absl::Status Answered(const absl::Status& status) const;

  const ChannelOptions options_;
  mutable std::mutex mutex_;
  std::shared_ptr<grpc::Channel> channel_;  // Guarded by mutex_.
  const std::unique_ptr<SessionListener> explainer_;
  StandingSession session_;
};

// How long the coordinator takes to answer a call, without a session: one that
// stands is not disturbed.
//
// UNAVAILABLE, DEADLINE_EXCEEDED: it does not answer. UNAUTHENTICATED: it is not
// our coordinator. PERMISSION_DENIED: our certificate is not a client's.
absl::StatusOr<absl::Duration> ProbeCoordinator(const ChannelOptions& options,
                                                absl::Duration timeout);

}  // namespace fedtune
