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

// Deletes itself.
class LogStream final : public grpc::ServerWriteReactor<v1::LogPart> {
 public:
  LogStream(const AuditLog& log, uint64_t from, uint64_t end, v1::LogCheckpoint checkpoint,
            std::function<absl::Status()> may_go_on)
      : log_(log), may_go_on_(std::move(may_go_on)), next_(from), end_(end) {
    *part_.mutable_checkpoint() = std::move(checkpoint);
    WriteNext();
  }

 private:
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::CANCELLED);
    if (next_ == end_) return Finish(grpc::Status::OK);
    const absl::Status may = may_go_on_();
    if (!may.ok()) return Finish(ToGrpcStatus(may));
    part_.Clear();
    WriteNext();
  }
  void OnDone() override { delete this; }

  void WriteNext() {
    if (next_ < end_) {
      absl::StatusOr<std::vector<std::string>> entries = log_.Entries(next_, end_, kPartBytes);
      if (!entries.ok()) return Finish(ToGrpcStatus(entries.status()));
      next_ += entries->size();
      for (std::string& entry : *entries) part_.add_entries(std::move(entry));
    }
    StartWrite(&part_);
  }

  const AuditLog& log_;
  const std::function<absl::Status()> may_go_on_;
  uint64_t next_;
  const uint64_t end_;
  v1::LogPart part_;
};

}  // namespace

absl::StatusOr<v1::ProveLogResponse> LogAnswers::Prove(const v1::ProveLogRequest& request) const {
  ASSIGN_OR_RETURN(AuditLog::Proof proof,
                   request.attempt() == 0
                       ? log_.ProveStart(request.run_id(), request.seen_size())
                       : log_.ProveOpening(request.run_id(), request.round(), request.attempt(),
                                           request.seen_size()));
  v1::ProveLogResponse response;
  *response.mutable_checkpoint() = ToMessage(signer_.Sign(proof.head));
  for (const Digest& hash : proof.consistency) response.add_consistency(hash.ToBinary());
  response.set_entry(std::move(proof.entry));
  response.set_index(proof.index);
  for (const Digest& hash : proof.inclusion) response.add_inclusion(hash.ToBinary());
  return response;
}

grpc::ServerWriteReactor<v1::LogPart>* LogAnswers::Read(
    uint64_t from, std::function<absl::Status()> may_go_on) const {
  using Refused = RefusedCall<grpc::ServerWriteReactor<v1::LogPart>>;
  const absl::StatusOr<LogHead> head = log_.Head();
  if (!head.ok()) return new Refused(head.status());
  if (from > head->size) {
    return new Refused(absl::OutOfRangeError(
        fmt::format("the log has {} entries, none from {} on", head->size, from)));
  }
  return new LogStream(log_, from, head->size, ToMessage(signer_.Sign(*head)),
                       std::move(may_go_on));
}

}  // namespace fedtune
