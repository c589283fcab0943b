// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"

namespace fedtune::bench {

// A connected pair of TCP sockets on loopback.
struct Connection {
  Connection() {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    Check(::bind(listener, generic, size) == 0 && ::listen(listener, 1) == 0 &&
              ::getsockname(listener, generic, &size) == 0,
          "no port of loopback");
    client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    Check(::connect(client, generic, size) == 0, "no connection over loopback");
    server = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    Check(server >= 0, "no connection over loopback");
    ::close(listener);
    const int at_once = 1;  // As gRPC sends: what is left of a message waits for no answer.
    for (const int end : {client, server}) {
      ::setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof(at_once));
    }
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    ::close(client);
    ::close(server);
  }

  int client;
  int server;
};

}  // namespace fedtune::bench
