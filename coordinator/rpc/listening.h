// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/logging.h"
#include "coordinator/rpc/connection_acceptor.h"
#include "coordinator/rpc/origin_limit.h"
#include "grpcpp/server.h"
#include "grpcpp/support/server_callback.h"
#include "privacy/identity/key_directory.h"

namespace fedtune {

struct ListeningOptions {
  std::string address;  // "host:port"
  CredentialFiles credentials;
  absl::Duration reload_interval;
  int64_t connections_per_address = OriginLimit::kMost;  // See OriginLimit.
};

struct Listening {
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<ConnectionAcceptor> acceptor;  // Ends before its server.
};

// Serves `services`, which must outlive the server, to whoever shows a
// certificate of the federation's authority, within limits on what one of them
// can take up. `log` must outlive what is returned.
//
// FAILED_PRECONDITION: the port is in use. INVALID_ARGUMENT: the address is none of
// this machine.
absl::StatusOr<Listening> Listen(const ListeningOptions& options,
                                 const std::vector<grpc::Service*>& services, Log& log);

}  // namespace fedtune
