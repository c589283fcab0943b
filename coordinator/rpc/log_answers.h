// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "coordinator/rpc/checkpoint_signer.h"
#include "coordinator/rpc/part_stream.h"
#include "coordinator/storage/audit_log.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "proto/fedtune/v1/administration.pb.h"
#include "proto/fedtune/v1/training.pb.h"

namespace fedtune {

// What the coordinator says of its audit log to whoever may ask. Thread-safe.
class LogAnswers {
 public:
  // Both must outlive it.
  LogAnswers(const AuditLog& log, CheckpointSigner& signer) : log_(log), signer_(signer) {}

  // NOT_FOUND: no such entry. Other errors: of the log.
  absl::StatusOr<v1::ProveLogResponse> Prove(const v1::ProveLogRequest& request) const;

  // The log from an entry on, as it is now, in parts that are small beside what a message
  // may have; each is read when the last one has been taken off its hands.
  // OUT_OF_RANGE: the log has fewer entries.
  grpc::ServerWriteReactor<v1::LogPart>* Read(uint64_t from, grpc::CallbackServerContext& context,
                                              const StreamObserver& begun) const;

 private:
  absl::StatusOr<AuditLog::Proof> Find(const v1::ProveLogRequest& request) const;

  const AuditLog& log_;
  CheckpointSigner& signer_;
};

}  // namespace fedtune
