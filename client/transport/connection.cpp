// SPDX-License-Identifier: Apache-2.0

#include "client/transport/connection.h"

#include <string>
#include <utility>

#include "base/status.h"
#include "fmt/format.h"
#include "rpc/channel.h"

namespace fedtune {

absl::Status LeftConnection() {
  return absl::CancelledError(
      "there is a new list of revoked certificates, by which the coordinator is looked at anew");
}

ConnectedCall::ConnectedCall(const Connection& connection, std::stop_token stop)
    : stop_(std::move(stop)),
      left_(connection.left),
      at_stop_(stop_, Cancel{context_}),
      at_leave_(left_, Cancel{context_}) {}

absl::Status ConnectedCall::Outcome(const grpc::Status& status) const {
  absl::Status outcome = StatusFromRpc(status);
  if (outcome.ok()) return outcome;
  if (stop_.stop_requested()) return absl::CancelledError("stopped");
  if (absl::IsResourceExhausted(outcome)) {
    return absl::UnavailableError(
        fmt::format("the coordinator has no room for it now: {}", Message(outcome)));
  }
  if (!absl::IsCancelled(outcome)) return outcome;
  if (left_.stop_requested()) outcome = LeftConnection();
  return absl::UnavailableError(std::string(Message(outcome)));
}

}  // namespace fedtune
