// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>

#include "coordinator/driver/client_gateway.h"
#include "coordinator/driver/contribution_buffer.h"
#include "coordinator/driver/masked_input.h"
#include "coordinator/rpc/training_conversion.h"
#include "grpcpp/support/server_callback.h"
#include "proto/fedtune/v1/training.pb.h"

namespace fedtune {

// Takes one contribution in: header first, which is judged before any of its
// bytes are read, then chunks. Whatever is wrong ends this call only. Deletes
// itself.
class ContributionUpload final : public grpc::ServerReadReactor<v1::SubmitContributionRequest> {
 public:
  // `gateway` and `response` must outlive the call.
  ContributionUpload(ClientGateway& gateway, Institution from,
                     v1::SubmitContributionResponse* response);

 private:
  void OnReadDone(bool ok) override;
  void OnCancel() override {}
  void OnDone() override { delete this; }

  absl::Status Take(const v1::SubmitContributionRequest& request);
  absl::Status Begin(const v1::ContributionHeader& message);
  absl::Status HandIn();
  absl::StatusOr<Admission> HandInMasked();
  void End(const absl::Status& status);

  ClientGateway& gateway_;
  const Institution from_;
  v1::SubmitContributionResponse* const response_;
  v1::SubmitContributionRequest request_;
  std::optional<SubmittedHeader> submitted_;
  // One of them, unless it is a repeated one.
  std::optional<ContributionBuffer> buffer_;
  std::optional<MaskedInput> masked_;
  Digest chunk_root_;  // Of the masked one.
};

}  // namespace fedtune
