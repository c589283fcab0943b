// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/log_answers.h"

#include <string>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "coordinator/rpc/refused_call.h"
#include "coordinator/rpc/status_conversion.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// Whoever writes to the database waits for so much to be read.
constexpr size_t kPartBytes = size_t{256} << 10;

v1::LogCheckpoint ToMessage(SignedCheckpoint checkpoint) {
  v1::LogCheckpoint message;
  message.set_note(std::move(checkpoint.note));
  message.set_certificate_pem(std::move(checkpoint.certificate_pem));
  return message;
}

// The parts of a log's first `end` entries, from one on.
PartStream<v1::LogPart>::Source PartsOf(const AuditLog& log, uint64_t from, uint64_t end,
                                        v1::LogCheckpoint checkpoint) {
  return [&log, next = from, end, checkpoint = std::move(checkpoint),
          is_first = true](v1::LogPart& part) mutable -> absl::StatusOr<bool> {
    if (next == end && !is_first) return false;
    part.Clear();
    if (std::exchange(is_first, false)) *part.mutable_checkpoint() = checkpoint;
    if (next == end) return true;
    ASSIGN_OR_RETURN(std::vector<std::string> entries, log.Entries(next, end, kPartBytes));
    next += entries.size();
    for (std::string& entry : entries) part.add_entries(std::move(entry));
    return true;
  };
}

}  // namespace

absl::StatusOr<AuditLog::Proof> LogAnswers::Find(const v1::ProveLogRequest& request) const {
  if (request.run_id().empty()) return log_.ProveBeginning(request.seen_size());
  if (request.attempt() == 0) return log_.ProveStart(request.run_id(), request.seen_size());
  return log_.ProveOpening(request.run_id(), request.round(), request.attempt(),
                           request.seen_size());
}

absl::StatusOr<v1::ProveLogResponse> LogAnswers::Prove(const v1::ProveLogRequest& request) const {
  ASSIGN_OR_RETURN(AuditLog::Proof proof, Find(request));
  v1::ProveLogResponse response;
  *response.mutable_checkpoint() = ToMessage(signer_.Sign(proof.head));
  for (const Digest& hash : proof.consistency) response.add_consistency(hash.ToBinary());
  response.set_entry(std::move(proof.entry));
  response.set_index(proof.index);
  for (const Digest& hash : proof.inclusion) response.add_inclusion(hash.ToBinary());
  return response;
}

grpc::ServerWriteReactor<v1::LogPart>* LogAnswers::Read(uint64_t from,
                                                        grpc::CallbackServerContext& context,
                                                        const StreamObserver& begun) const {
  using Refused = RefusedCall<grpc::ServerWriteReactor<v1::LogPart>>;
  const absl::StatusOr<LogHead> head = log_.Head();
  if (!head.ok()) return new Refused(head.status());
  if (from > head->size) {
    return new Refused(absl::OutOfRangeError(
        fmt::format("the log has {} entries, none from {} on", head->size, from)));
  }
  return PartStream<v1::LogPart>::Begin(
      PartsOf(log_, from, head->size, ToMessage(signer_.Sign(*head))), context, begun);
}

}  // namespace fedtune
