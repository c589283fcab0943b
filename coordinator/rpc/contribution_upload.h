// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>

#include "coordinator/driver/client_gateway.h"
#include "coordinator/driver/contribution_buffer.h"
#include "coordinator/driver/masked_input.h"
#include "coordinator/rpc/training_conversion.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "proto/fedtune/v1/training.pb.h"

namespace fedtune {

// Takes one contribution in: header first, which is judged before any of its
// bytes are read, then chunks. Whatever is wrong ends this call only; if it is
// wrong for good, its client has failed in the round that the header names. A
// call that ends too early may have been cut off: its client may send again, and a
// large contribution goes on where it was. Deletes itself.
class ContributionUpload final : public grpc::ServerReadReactor<v1::SubmitContributionRequest> {
 public:
  // The others must outlive the call.
  ContributionUpload(ClientGateway& gateway, Institution from, grpc::CallbackServerContext& context,
                     v1::SubmitContributionResponse* response);

 private:
  void OnReadDone(bool ok) override;
  void OnCancel() override {}
  void OnDone() override { delete this; }

  // What a header says it is for.
  struct NamedWork {
    RunId run;
    int64_t round = 0;
    int64_t attempt = 0;
  };

  absl::Status Take(const v1::SubmitContributionRequest& request);
  absl::Status Begin(const v1::ContributionHeader& message);
  void TellReceived(uint64_t bytes);
  absl::Status HandIn();
  absl::StatusOr<Admission> HandInMasked();
  void End(const absl::Status& status);

  ClientGateway& gateway_;
  const Institution from_;
  grpc::CallbackServerContext& context_;
  v1::SubmitContributionResponse* const response_;
  v1::SubmitContributionRequest request_;
  std::optional<NamedWork> named_;  // As soon as a header has been read.
  std::optional<SubmittedHeader> submitted_;
  // One of them, unless it is a repeated one.
  std::optional<ContributionBuffer> buffer_;
  std::optional<MaskedInput> masked_;
  Digest chunk_root_;      // Of the masked one.
  bool admitted_ = false;  // A round takes it, once it has come.
  bool cut_off_ = false;
};

}  // namespace fedtune
