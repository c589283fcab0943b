// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "cli/coordinator_connection.h"
#include "privacy/identity/key_directory.h"
#include "rpc/channel.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/test_federation.h"

namespace fedtune::testing {

// A service of a test's on a port of its own, over mutual TLS, and an administrator who may
// call it.
class ServedAdministrator {
 public:
  // `service` must outlive it.
  explicit ServedAdministrator(v1::Administration::Service& service) {
    SetUpRpcLibrary();
    const MemberKeys hub = federation_.Issue(Role::kCoordinator, "hub");
    grpc::SslServerCredentialsOptions options(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    options.pem_root_certs = federation_.authority_pem();
    options.pem_key_cert_pairs.push_back({hub.key, hub.certificate});
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(options), &port_);
    builder.RegisterService(&service);
    server_ = builder.BuildAndStart();
  }

  ~ServedAdministrator() { server_->Shutdown(absl::ToChronoTime(absl::Now())); }

  absl::StatusOr<CoordinatorConnection> Connect() const {
    const CredentialFiles files =
        federation_.WriteCredentials(folder_.path(), Role::kAdministrator, "ada");
    return CoordinatorConnection::Open({.coordinator = "127.0.0.1:" + std::to_string(port_),
                                        .certificate = files.certificate,
                                        .key = files.key,
                                        .authority = files.authority,
                                        .revocation_list = {},
                                        .models = {}});
  }

 private:
  const TestFederation federation_;
  const TemporaryDirectory folder_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace fedtune::testing
