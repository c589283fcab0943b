// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <thread>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/check.h"

namespace fedtune::testing {

// Stands between a client and a port of this machine, and passes on what comes until it
// goes deaf: then everything is lost, and nobody is told. For one connection.
class Relay {
 public:
  explicit Relay(int target)
      : target_(target), listener_(Listen()), thread_([this](const std::stop_token& stop) {
          const int from = Await(stop) ? ::accept(listener_, nullptr, nullptr) : -1;
          if (from >= 0) PassOn(stop, from);
        }) {}

  ~Relay() {
    thread_.request_stop();
    thread_.join();
    ::close(listener_);
  }

  int port() const {
    sockaddr_in address{};
    socklen_t size = sizeof(address);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    return ntohs(address.sin_port);
  }

  void GoDeaf() { is_deaf_ = true; }

  // Waits until something comes from the client when the connection is so old; false: for
  // longer than that again nothing has.
  bool IsStillUsedAfter(absl::Duration age) const {
    const absl::Time wanted = absl::Now() + age;
    const absl::Time end = wanted + age;
    while (absl::Now() < end) {
      if (absl::FromUnixNanos(last_used_) > wanted) return true;
      absl::SleepFor(absl::Milliseconds(10));
    }
    return false;
  }

 private:
  static constexpr int kTickMs = 20;

  static sockaddr_in Local(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }

  static int Listen() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = Local(0);
    Check(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 &&
              ::listen(fd, 1) == 0,
          "no port for the relay");
    return fd;
  }

  bool Await(const std::stop_token& stop) const {
    pollfd waits{.fd = listener_, .events = POLLIN, .revents = 0};
    while (!stop.stop_requested()) {
      if (::poll(&waits, 1, kTickMs) > 0) return true;
    }
    return false;
  }

  void PassOn(const std::stop_token& stop, int from) {
    const int to = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = Local(target_);
    Check(::connect(to, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0,
          "the relay's target does not listen");
    std::array<pollfd, 2> ends{pollfd{.fd = from, .events = POLLIN, .revents = 0},
                               pollfd{.fd = to, .events = POLLIN, .revents = 0}};
    bool open = true;
    while (open && !stop.stop_requested()) {
      ::poll(ends.data(), ends.size(), kTickMs);
      if ((ends[0].revents & POLLIN) != 0) {
        last_used_ = absl::ToUnixNanos(absl::Now());
        open = Pass(from, to);
      }
      if (open && (ends[1].revents & POLLIN) != 0) open = Pass(to, from);
    }
    ::close(from);
    ::close(to);
  }

  bool Pass(int from, int to) {
    std::array<char, size_t{64} << 10> bytes;
    const ssize_t size = ::recv(from, bytes.data(), bytes.size(), 0);
    if (size <= 0) return false;
    return is_deaf_ || ::send(to, bytes.data(), static_cast<size_t>(size), MSG_NOSIGNAL) == size;
  }

  const int target_;
  const int listener_;
  std::atomic<bool> is_deaf_ = false;
  std::atomic<int64_t> last_used_ = 0;
  std::jthread thread_;  // Last: it uses all of the above.
};

}  // namespace fedtune::testing
