// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/crypto/sha256.h"
#include "proto/fedtune/v1/training.pb.h"

namespace fedtune::simulation {

// The coordinator as a client's process sees it: the calls of the protocol, which
// take no time here. Coordinator and clients know each other by their messages alone,
// and so do the files of this folder: some names mean one thing there and another here.
class CoordinatorPort {
 public:
  using Ear = std::function<void(const std::shared_ptr<const v1::CoordinatorMessage>&)>;

  virtual ~CoordinatorPort() = default;

  // A session; `heard` is called from within the coordinator and must not call back.
  virtual void Connect(const std::string& client, Ear heard) = 0;
  virtual void Disconnect(const std::string& client) = 0;
  virtual void Receive(const std::string& client, const v1::ClientMessage& message) = 0;

  // NOT_FOUND: no such blob.
  virtual absl::StatusOr<std::string> Fetch(const Digest& digest) = 0;

  // Hands in a contribution, plain or masked, in one piece.
  virtual absl::Status Submit(const std::string& client, const v1::ContributionHeader& header,
                              std::string_view bytes) = 0;
};

}  // namespace fedtune::simulation
