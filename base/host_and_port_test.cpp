// SPDX-License-Identifier: Apache-2.0

#include "base/host_and_port.h"

#include "gtest/gtest.h"

namespace fedtune {
namespace {

TEST(HostAndPortTest, TakesNamesAndAddresses) {
  EXPECT_TRUE(IsHostAndPort("fl.example.org:7443"));
  EXPECT_TRUE(IsHostAndPort("hub_2:1"));
  EXPECT_TRUE(IsHostAndPort("127.0.0.1:65535"));
  EXPECT_TRUE(IsHostAndPort("[::1]:7443"));
  EXPECT_TRUE(IsHostAndPort("[fe80::1%eth0]:7443"));
}

TEST(HostAndPortTest, IsTakenApart) {
  const auto address = ParseHostAndPort("fl.example.org:7443");
  ASSERT_TRUE(address.has_value());
  EXPECT_EQ(address->host, "fl.example.org");
  EXPECT_EQ(address->port, 7443);
  EXPECT_EQ(ToString(*address), "fl.example.org:7443");
}

TEST(HostAndPortTest, AnAddressOfVersion6HasItsBracketsInTextOnly) {
  const auto address = ParseHostAndPort("[fd00::7]:7443");
  ASSERT_TRUE(address.has_value());
  EXPECT_EQ(address->host, "fd00::7");
  EXPECT_EQ(ToString(*address), "[fd00::7]:7443");
}

TEST(HostAndPortTest, PortZeroIsNoneToCallButOneToListenOn) {
  EXPECT_FALSE(IsHostAndPort("0.0.0.0:0"));
  ASSERT_TRUE(ParseHostAndPort("0.0.0.0:0").has_value());
  EXPECT_EQ(ParseHostAndPort("0.0.0.0:0")->port, 0);
}

TEST(HostAndPortTest, RefusesASchemeAndAPath) {
  EXPECT_FALSE(IsHostAndPort("https://fl.example.org:7443"));
  EXPECT_FALSE(IsHostAndPort("dns:///fl.example.org:7443"));
  EXPECT_FALSE(IsHostAndPort("unix:/run/fedtune"));
  EXPECT_FALSE(IsHostAndPort("fl.example.org:7443/"));
}

TEST(HostAndPortTest, RefusesAMissingHost) {
  EXPECT_FALSE(IsHostAndPort(""));
  EXPECT_FALSE(IsHostAndPort(":7443"));
  EXPECT_FALSE(IsHostAndPort("[]:7443"));
}

TEST(HostAndPortTest, RefusesAMissingOrImpossiblePort) {
  EXPECT_FALSE(IsHostAndPort("fl.example.org"));
  EXPECT_FALSE(IsHostAndPort("fl.example.org:"));
  EXPECT_FALSE(IsHostAndPort("fl.example.org:0"));
  EXPECT_FALSE(IsHostAndPort("fl.example.org:-1"));
  EXPECT_FALSE(IsHostAndPort("fl.example.org:65536"));
  EXPECT_FALSE(IsHostAndPort("fl.example.org:https"));
}

TEST(HostAndPortTest, RefusesAnAddressOfVersion6WithoutBrackets) {
  EXPECT_FALSE(IsHostAndPort("::1:7443"));
}

}  // namespace
}  // namespace fedtune
