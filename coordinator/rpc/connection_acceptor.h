// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/host_and_port.h"
#include "base/logging.h"
#include "coordinator/rpc/origin_limit.h"
#include "grpcpp/server_builder.h"

namespace fedtune {

// Takes connections at one address for a gRPC server. The library's own listener
// is deaf for good after the process had no descriptor left for a connection; this
// one says so and goes on when there is one again. Of one origin it takes no more than
// OriginLimit says.
class ConnectionAcceptor {
 public:
  using Server = grpc::experimental::ExternalConnectionAcceptor;

  // Listens on `address`, "host:port": on all addresses of a host, and for 0.0.0.0 on
  // all of this machine. Port 0 is a free one.
  //
  // FAILED_PRECONDITION: the port is in use. INVALID_ARGUMENT: the address is none of
  // this machine.
  static absl::StatusOr<std::unique_ptr<ConnectionAcceptor>> Bind(const std::string& address);

  // Takes no more connections; what was handed over stays.
  ~ConnectionAcceptor();

  int port() const { return port_; }

  // From now on whoever connects is handed to `server`, which has been started, within
  // `limit`. `log` must outlive this object. Call it once.
  void HandTo(std::unique_ptr<Server> server, OriginLimit limit, Log& log);

 private:
  ConnectionAcceptor() = default;

  absl::Status BindAll(const HostAndPort& address);
  void Run(const std::stop_token& stop, Log& log);
  bool IsWelcome(const sockaddr_storage& peer, Log& log);
  bool Accept(int listener, Log& log);

  std::vector<int> listeners_;
  int wake_ = -1;  // Readable when there is to be an end.
  int port_ = 0;
  OriginLimit limit_;
  std::unique_ptr<Server> server_;
  std::jthread thread_;
};

}  // namespace fedtune
