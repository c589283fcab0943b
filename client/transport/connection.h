// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <functional>
#include <memory>
#include <stop_token>

#include "absl/status/status.h"
#include "client/transport/line.h"

namespace fedtune {

// A channel, and whether we have left who is at its other end.
struct Connection {
  std::shared_ptr<grpc::Channel> channel;
  std::stop_token left;  // Requested: nothing goes on over this channel.
  std::shared_ptr<RoundTrips> trips = std::make_shared<RoundTrips>();  // Over it so far.
};

// The connection of the moment: another one takes the place of one over which a certificate
// was shown that has expired since, and of one that is left.
using ConnectionGiver = std::function<Connection()>;

// Why what went over a connection has ended that was left. CANCELLED.
absl::Status LeftConnection();

// One call over a connection. It is cancelled when it is to stop, and when the connection
// is left.
class ConnectedCall {
 public:
  ConnectedCall(const Connection& connection, std::stop_token stop);

  grpc::ClientContext& context() { return context_; }

  // What the call has ended with. CANCELLED: it was to stop. UNAVAILABLE, among else: the
  // connection was left, somebody between the two has cancelled it, or the other side has no
  // room for it now; to be tried again over the connection that there is then.
  absl::Status Outcome(const grpc::Status& status) const;

 private:
  struct Cancel {
    grpc::ClientContext& context;
    void operator()() const { context.TryCancel(); }
  };

  const std::stop_token stop_;
  const std::stop_token left_;
  grpc::ClientContext context_;
  const std::stop_callback<Cancel> at_stop_;  // Last: they use the context.
  const std::stop_callback<Cancel> at_leave_;
};

}  // namespace fedtune
