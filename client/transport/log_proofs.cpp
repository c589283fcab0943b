// SPDX-License-Identifier: Apache-2.0

#include "client/transport/log_proofs.h"

#include "base/clock.h"
#include "base/status_macros.h"
#include "client/transport/backoff.h"
#include "client/transport/conversion.h"
#include "proto/fedtune/v1/training.grpc.pb.h"

namespace fedtune {
namespace {

// Of one answer; a coordinator that is not there says so at once.
constexpr absl::Duration kPatience = absl::Minutes(1);

absl::StatusOr<LogProof> AskOnce(const Connection& connection, const LogQuestion& question,
                                 const std::stop_token& stop) {
  ConnectedCall call(connection, stop);
  call.context().set_deadline(absl::ToChronoTime(SystemClock().Now() + kPatience));
  v1::ProveLogResponse response;
  const auto stub = v1::Training::NewStub(connection.channel);
  const absl::Duration asked = SystemClock().Monotonic();
  RETURN_IF_ERROR(
      call.Outcome(stub->ProveLog(&call.context(), QuestionToProto(question), &response)));
  connection.trips->Note(SystemClock().Monotonic() - asked);
  return LogProofFromProto(response);
}

bool MayBeAnsweredLater(const absl::Status& status) {
  return MayGoBetter(status) || absl::IsDeadlineExceeded(status);
}

}  // namespace

absl::StatusOr<LogProof> ProveLog(const ConnectionGiver& connection, const LogQuestion& question,
                                  const std::stop_token& stop) {
  Backoff backoff;
  while (true) {
    absl::StatusOr<LogProof> proof = AskOnce(connection(), question, stop);
    if (stop.stop_requested()) return absl::CancelledError("stopped");
    if (proof.ok() || !MayBeAnsweredLater(proof.status())) return proof;
    if (!Pause(backoff.Next(), stop)) return absl::CancelledError("stopped");
  }
}

}  // namespace fedtune
