// SPDX-License-Identifier: Apache-2.0

#include "bench/transport/long_line.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "base/check.h"

namespace fedtune::bench {
namespace {

constexpr size_t kPiece = size_t{64} << 10;

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

// What is on its way in one direction. Empty bytes are the end.
class Pipe {
 public:
  Pipe(int from, int to, absl::Duration delay)
      : from_(from), to_(to), delay_(delay), reader_([this] { Read(); }), writer_([this] {
          Write();
        }) {}

 private:
  struct Piece {
    absl::Time due;
    std::vector<char> bytes;
  };

  void Read() {
    while (true) {
      std::vector<char> bytes(kPiece);
      const ssize_t size = ::recv(from_, bytes.data(), bytes.size(), 0);
      bytes.resize(static_cast<size_t>(std::max<ssize_t>(size, 0)));
      const std::lock_guard lock(mutex_);
      pieces_.push_back({absl::Now() + delay_, std::move(bytes)});
      come_.notify_one();
      if (size <= 0) return;
    }
  }

  Piece Next() {
    std::unique_lock lock(mutex_);
    come_.wait(lock, [this] { return !pieces_.empty(); });
    Piece piece = std::move(pieces_.front());
    pieces_.pop_front();
    return piece;
  }

  void Write() {
    while (true) {
      const Piece piece = Next();
      absl::SleepFor(piece.due - absl::Now());
      if (piece.bytes.empty()) break;
      for (size_t sent = 0; sent < piece.bytes.size();) {
        const ssize_t size =
            ::send(to_, piece.bytes.data() + sent, piece.bytes.size() - sent, MSG_NOSIGNAL);
        if (size <= 0) break;
        sent += static_cast<size_t>(size);
      }
    }
    ::shutdown(to_, SHUT_WR);
  }

  const int from_, to_;
  const absl::Duration delay_;
  std::mutex mutex_;
  std::condition_variable come_;
  std::deque<Piece> pieces_;
  std::jthread reader_, writer_;  // Last: they use the rest.
};

// Both directions of a connection, whose sockets it closes.
class Relayed {
 public:
  Relayed(int near, int far, absl::Duration delay)
      : near_{near}, far_{far}, out_(near, far, delay), back_(far, near, delay) {}

  void Break() {
    ::shutdown(near_.fd, SHUT_RDWR);
    ::shutdown(far_.fd, SHUT_RDWR);
  }

 private:
  struct Socket {
    ~Socket() { ::close(fd); }
    const int fd;
  };
  const Socket near_, far_;
  Pipe out_, back_;
};

}  // namespace

class LongLine::Relay {
 public:
  Relay(int to_port, absl::Duration delay)
      : to_port_(to_port),
        delay_(delay),
        listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = Loopback(0);
    socklen_t size = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    Check(::bind(listener_, generic, size) == 0 && ::listen(listener_, SOMAXCONN) == 0 &&
              ::getsockname(listener_, generic, &size) == 0,
          "no port of loopback");
    port_ = ntohs(address.sin_port);
    acceptor_ = std::jthread([this] { Accept(); });
  }
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;
  ~Relay() {
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    for (Relayed& connection : connections_) connection.Break();
    connections_.clear();
    ::close(listener_);
  }

  int port() const { return port_; }

 private:
  void Accept() {
    while (true) {
      const int near = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (near < 0) return;
      const int far = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in address = Loopback(to_port_);
      Check(::connect(far, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0,
            "the other end of a line is there");
      connections_.emplace_back(near, far, delay_);
    }
  }

  const int to_port_;
  const absl::Duration delay_;
  const int listener_;
  int port_ = 0;
  std::list<Relayed> connections_;  // The acceptor's until it has ended.
  std::jthread acceptor_;
};

LongLine::LongLine(int to_port, absl::Duration delay)
    : relay_(std::make_unique<Relay>(to_port, delay)) {}

LongLine::~LongLine() = default;

int LongLine::port() const { return relay_->port(); }

}  // namespace fedtune::bench
