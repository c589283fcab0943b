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
