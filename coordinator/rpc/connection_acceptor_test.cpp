// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/connection_acceptor.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "base/status.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

bool Connects(const sockaddr* address, socklen_t size) {
  const int fd = ::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool connected = fd >= 0 && ::connect(fd, address, size) == 0;
  if (fd >= 0) ::close(fd);
  return connected;
}

bool ConnectsOverVersion4(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return Connects(reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

bool ConnectsOverVersion6(int port) {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(static_cast<uint16_t>(port));
  address.sin6_addr = in6addr_loopback;
  return Connects(reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

std::string Refusal(const std::string& address, absl::StatusCode code) {
  const absl::Status status = ConnectionAcceptor::Bind(address).status();
  EXPECT_THAT(status, HasCode(code)) << address;
  return std::string(Message(status));
}

TEST(ConnectionAcceptorTest, ListensOnAFreePort) {
  const auto acceptor = ConnectionAcceptor::Bind("127.0.0.1:0");
  ASSERT_THAT(acceptor, IsOk());
  EXPECT_TRUE(ConnectsOverVersion4((*acceptor)->port()));
}

TEST(ConnectionAcceptorTest, ListensNoLongerThanItLives) {
  auto acceptor = ConnectionAcceptor::Bind("127.0.0.1:0");
  ASSERT_THAT(acceptor, IsOk());
  const int port = (*acceptor)->port();
  acceptor->reset();
  EXPECT_FALSE(ConnectsOverVersion4(port));
}

TEST(ConnectionAcceptorTest, ListensOnAllAddressesOfAHost) {
  const auto acceptor = ConnectionAcceptor::Bind("localhost:0");
  ASSERT_THAT(acceptor, IsOk());
  EXPECT_TRUE(ConnectsOverVersion4((*acceptor)->port()));
}

TEST(ConnectionAcceptorTest, ListensOnAllAddressesOfTheMachine) {
  const bool has_version_6 = ConnectionAcceptor::Bind("[::1]:0").ok();
  for (const std::string_view address : {"0.0.0.0:0", "[::]:0"}) {
    const auto acceptor = ConnectionAcceptor::Bind(std::string(address));
    if (!has_version_6 && !acceptor.ok()) continue;
    ASSERT_THAT(acceptor, IsOk()) << address;
    EXPECT_TRUE(ConnectsOverVersion4((*acceptor)->port())) << address;
    EXPECT_EQ(ConnectsOverVersion6((*acceptor)->port()), has_version_6) << address;
  }
}

TEST(ConnectionAcceptorTest, SharesItsPortWithNobody) {
  const auto acceptor = ConnectionAcceptor::Bind("0.0.0.0:0");
  ASSERT_THAT(acceptor, IsOk());
  for (const std::string_view host : {"0.0.0.0", "127.0.0.1", "localhost"}) {
    EXPECT_THAT(Refusal(fmt::format("{}:{}", host, (*acceptor)->port()),
                        absl::StatusCode::kFailedPrecondition),
                HasSubstr("is in use by another process; choose another with --listen"));
  }
}

TEST(ConnectionAcceptorTest, RefusesWhatIsNoAddressOfThisMachine) {
  EXPECT_THAT(Refusal("7443", absl::StatusCode::kInvalidArgument), HasSubstr("write host:port"));
  EXPECT_THAT(Refusal("127.0.0.1:", absl::StatusCode::kInvalidArgument),
              HasSubstr("write host:port"));
  EXPECT_THAT(Refusal("127.0.0.1:65536", absl::StatusCode::kInvalidArgument),
              HasSubstr("a port from 0 (any that is free) to 65535"));
  EXPECT_THAT(Refusal("https://127.0.0.1:0", absl::StatusCode::kInvalidArgument),
              HasSubstr("write host:port"));
  EXPECT_THAT(Refusal("::1:0", absl::StatusCode::kInvalidArgument), HasSubstr("[::]:7443"));
  EXPECT_THAT(Refusal("192.0.2.1:0", absl::StatusCode::kInvalidArgument),
              HasSubstr("cannot listen on 192.0.2.1:0: Cannot assign requested address"));
  EXPECT_THAT(Refusal("nobody.invalid:0", absl::StatusCode::kInvalidArgument),
              HasSubstr("cannot listen on nobody.invalid:0: "));
}

}  // namespace
}  // namespace fedtune
