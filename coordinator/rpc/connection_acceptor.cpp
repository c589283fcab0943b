// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/connection_acceptor.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>

#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// How long a peer may leave what it was sent unacknowledged, in milliseconds.
constexpr int kUserTimeout = 20'000;
// How long to wait for a free descriptor, in milliseconds.
constexpr int kStarvedPause = 100;

void Set(int fd, int level, int option, int value) {
  ::setsockopt(fd, level, option, &value, sizeof(value));
}

// A socket that listens there, or -1 and errno. Connections inherit its options.
int ListenOn(const addrinfo& where) {
  const int fd = ::socket(where.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  Set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  Set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  Set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, kUserTimeout);
  if (where.ai_family == AF_INET6) Set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  if (::bind(fd, where.ai_addr, where.ai_addrlen) == 0 && ::listen(fd, SOMAXCONN) == 0) return fd;
  const int error = errno;
  ::close(fd);
  errno = error;
  return -1;
}

int PortOf(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<sockaddr_in&>(address).sin_port);
}

bool IsNoDescriptorLeft(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ConnectionAcceptor>> ConnectionAcceptor::Bind(
    const std::string& address) {
  const std::optional<HostAndPort> parsed = ParseHostAndPort(address);
  if (!parsed) {
    return absl::InvalidArgumentError(fmt::format(
        "\"{}\" is no address to listen on; write host:port, as in 0.0.0.0:7443 or [::]:7443, with "
        "a port from 0 (any that is free) to 65535",
        address));
  }
  std::unique_ptr<ConnectionAcceptor> acceptor(new ConnectionAcceptor());
  // One socket takes the connections of both versions of the protocol, where there are two.
  absl::Status status = absl::OkStatus();
  if (parsed->host == "0.0.0.0") status = acceptor->BindAll({"::", parsed->port});
  if (acceptor->listeners_.empty() && !absl::IsFailedPrecondition(status)) {
    status = acceptor->BindAll(*parsed);
  }
  if (absl::IsInvalidArgument(status)) {
    return absl::InvalidArgumentError(
        fmt::format("cannot listen on {}: {}", address, Message(status)));
  }
  RETURN_IF_ERROR(status);
  acceptor->wake_ = ::eventfd(0, EFD_CLOEXEC);
  if (acceptor->wake_ < 0) return absl::ErrnoToStatus(errno, "eventfd");
  return acceptor;
}

ConnectionAcceptor::~ConnectionAcceptor() {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
  for (const int listener : listeners_) ::close(listener);
  if (wake_ >= 0) ::close(wake_);
}

absl::Status ConnectionAcceptor::BindAll(const HostAndPort& address) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int code =
      ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (code != 0) return absl::InvalidArgumentError(::gai_strerror(code));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
  int error = 0;
  for (addrinfo* where = found; where != nullptr; where = where->ai_next) {
    // The port that was free on the first address is that of the others; it stands at the
    // same place in addresses of both versions.
    if (port_ != 0) reinterpret_cast<sockaddr_in*>(where->ai_addr)->sin_port = htons(port_);
    const int fd = ListenOn(*where);
    if (fd < 0 && errno == EADDRINUSE) {
      return absl::FailedPreconditionError(fmt::format(
          "port {} is in use by another process; choose another with --listen", address.port));
    }
    if (fd < 0) {
      error = errno;
      continue;
    }
    listeners_.push_back(fd);
    port_ = PortOf(fd);
  }
  return listeners_.empty() ? absl::InvalidArgumentError(std::strerror(error)) : absl::OkStatus();
}

void ConnectionAcceptor::HandTo(std::unique_ptr<Server> server, OriginLimit limit, Log& log) {
  server_ = std::move(server);
  limit_ = std::move(limit);
  thread_ = std::jthread([this, &log](const std::stop_token& stop) { Run(stop, log); });
}

void ConnectionAcceptor::Run(const std::stop_token& stop, Log& log) {
  const std::stop_callback wake(stop, [this] { ::eventfd_write(wake_, 1); });
  std::vector<pollfd> waiting = {{.fd = wake_, .events = POLLIN, .revents = 0}};
  for (const int listener : listeners_) waiting.push_back({listener, POLLIN, 0});
  bool told = false;
  while (!stop.stop_requested()) {
    ::poll(waiting.data(), waiting.size(), -1);
    bool starved = false;
    for (size_t i = 1; i < waiting.size(); ++i) {
      if ((waiting[i].revents & POLLIN) != 0 && !Accept(waiting[i].fd, log)) starved = true;
    }
    if (starved && !std::exchange(told, true)) {
      log.Warning(
          "no connection is taken until there is a descriptor for it; more are allowed with "
          "LimitNOFILE or ulimit -n");
    }
    if (starved) ::poll(waiting.data(), 1, kStarvedPause);
    if (!starved) told = false;
  }
}

bool ConnectionAcceptor::IsWelcome(const sockaddr_storage& peer, Log& log) {
  const std::optional<std::string> origin = OriginOf(peer);
  if (!origin.has_value()) return true;
  const auto now = absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
  const OriginLimit::Verdict verdict = limit_.Judge(*origin, now);
  if (verdict == OriginLimit::Verdict::kRefusedFirst) {
    log.Warning("connections are refused: too many in a few seconds from one address",
                {Field("address", *origin)});
  }
  return verdict == OriginLimit::Verdict::kTaken;
}

// False if there was no descriptor for the connection, which goes on waiting.
bool ConnectionAcceptor::Accept(int listener, Log& log) {
  sockaddr_storage peer{};
  socklen_t size = sizeof(peer);
  const int fd =
      ::accept4(listener, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return !IsNoDescriptorLeft(errno);
  if (!IsWelcome(peer, log)) {
    ::close(fd);
    return true;
  }
  Server::NewConnectionParameters connection;
  connection.listener_fd = listener;
  connection.fd = fd;
  server_->HandleNewConnection(&connection);
  return true;
}

}  // namespace fedtune
