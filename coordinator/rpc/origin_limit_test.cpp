// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/origin_limit.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "gtest/gtest.h"

namespace fedtune {
namespace {

using Verdict = OriginLimit::Verdict;

std::optional<std::string> OriginOfV4(const char* text) {
  sockaddr_storage address{};
  address.ss_family = AF_INET;
  ::inet_pton(AF_INET, text, &reinterpret_cast<sockaddr_in&>(address).sin_addr);
  return OriginOf(address);
}

std::optional<std::string> OriginOfV6(const char* text) {
  sockaddr_storage address{};
  address.ss_family = AF_INET6;
  ::inet_pton(AF_INET6, text, &reinterpret_cast<sockaddr_in6&>(address).sin6_addr);
  return OriginOf(address);
}

TEST(OriginOfTest, IsAnAddressOrANetworkOfThem) {
  EXPECT_EQ(OriginOfV4("192.0.2.7"), "192.0.2.7");
  EXPECT_EQ(OriginOfV6("::ffff:192.0.2.7"), "192.0.2.7");
  EXPECT_EQ(OriginOfV6("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
  EXPECT_EQ(OriginOfV6("2001:db8:1:2::9"), "2001:db8:1:2::/64");
}

TEST(OriginOfTest, ThisMachineIsNone) {
  EXPECT_EQ(OriginOfV4("127.0.0.1"), std::nullopt);
  EXPECT_EQ(OriginOfV6("::1"), std::nullopt);
  EXPECT_EQ(OriginOfV6("::ffff:127.0.0.1"), std::nullopt);
}

class OriginLimitTest : public ::testing::Test {
 protected:
  void OpenAsManyAsMayBe(const std::string& origin) {
    for (int64_t i = 0; i < OriginLimit::kMost; ++i) {
      ASSERT_EQ(limit_.Judge(origin, now_), Verdict::kTaken);
    }
  }

  OriginLimit limit_;
  absl::Duration now_ = absl::Hours(100);
};

TEST_F(OriginLimitTest, RefusesTooManyOfOneOriginAndSaysWhenItBegins) {
  OpenAsManyAsMayBe("192.0.2.7");
  EXPECT_EQ(limit_.Judge("192.0.2.7", now_), Verdict::kRefusedFirst);
  EXPECT_EQ(limit_.Judge("192.0.2.7", now_), Verdict::kRefused);
}

TEST_F(OriginLimitTest, TakesAsManyAsItIsTold) {
  limit_ = OriginLimit(2);
  EXPECT_EQ(limit_.Judge("192.0.2.7", now_), Verdict::kTaken);
  EXPECT_EQ(limit_.Judge("192.0.2.7", now_), Verdict::kTaken);
  EXPECT_EQ(limit_.Judge("192.0.2.7", now_), Verdict::kRefusedFirst);
}

TEST_F(OriginLimitTest, TakesThoseOfOthers) {
  OpenAsManyAsMayBe("192.0.2.7");
  EXPECT_EQ(limit_.Judge("192.0.2.8", now_), Verdict::kTaken);
}

TEST_F(OriginLimitTest, TakesMoreAfterAWhile) {
  OpenAsManyAsMayBe("192.0.2.7");
  now_ += OriginLimit::kWithin;
  OpenAsManyAsMayBe("192.0.2.7");
}

}  // namespace
}  // namespace fedtune
