// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <mutex>
#include <stop_token>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/round/coordinator_link.h"
#include "client/transport/connection.h"
#include "client/transport/session.h"
#include "privacy/crypto/sha256.h"
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

  // Where another list of revoked certificates is in use than at the last time: leaves the
  // connection, whoever is at its other end. The session and all transfers go on over a new
  // one, whose handshake judges by the new list. To be called now and then.
  void HeedRevocations();

  void Send(const Reply& reply) override;
  absl::StatusOr<std::vector<float>> FetchAdapter(WantedAdapter wanted, std::stop_token stop,
                                                  const TransferObserver& observer) override;
  absl::Status Submit(std::shared_ptr<const Contribution> contribution,
                      std::stop_token stop) override;
  absl::Status SubmitMasked(std::shared_ptr<const MaskedContribution> contribution,
                            std::stop_token stop) override;
  absl::StatusOr<LogProof> ProveLog(const LogQuestion& question, std::stop_token stop) override;

 private:
  // Hands on what the session says, in words for people.
  class Explainer;

  Connection connection() const;
  void Reopen();
  void ForgetLine();  // It may be another one when there is one again.
  absl::Status Answered(const absl::Status& status) const;

  const ChannelOptions options_;
  mutable std::mutex mutex_;
  // Guarded by mutex_, as are the next two. Who is at the other end of a call under way, also
  // over a channel before this one, was judged by this list or a newer one.
  Digest judged_by_;
  std::shared_ptr<grpc::Channel> channel_;
  std::shared_ptr<RoundTrips> trips_ = std::make_shared<RoundTrips>();
  std::stop_source left_;
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
