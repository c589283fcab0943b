// SPDX-License-Identifier: Apache-2.0

#include "cli/configuration.h"

#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;

TEST(ConfigurationTest, PathsAreRelativeToTheFile) {
  const auto configuration = ParseConfiguration(
      "coordinator = 'fl.example.org:7443'\nkey = 'k.pem'\nmodels = ['m', '/models']\n",
      "/etc/fedtune/fedtune.toml", {});
  ASSERT_TRUE(configuration.ok()) << configuration.status();
  EXPECT_EQ(configuration->coordinator, "fl.example.org:7443");
  EXPECT_EQ(configuration->key, "/etc/fedtune/k.pem");
  EXPECT_EQ(configuration->certificate, "/etc/fedtune/keys/certificate.pem");
  EXPECT_THAT(configuration->models, ElementsAre("/etc/fedtune/m", "/models"));
}

TEST(ConfigurationTest, FlagsWinOverTheFile) {
  const auto configuration = ParseConfiguration("coordinator = 'a:1'\n", "/etc/fedtune.toml",
                                                {.file = {},
                                                 .coordinator = "b:2",
                                                 .certificate = {},
                                                 .key = "k",
                                                 .authority = {},
                                                 .revocation_list = "r.crl",
                                                 .models = {}});
  ASSERT_TRUE(configuration.ok()) << configuration.status();
  EXPECT_EQ(configuration->coordinator, "b:2");
  EXPECT_EQ(configuration->key, "k");
  EXPECT_EQ(configuration->revocation_list, "r.crl");
}

TEST(ConfigurationTest, SaysWhichKeyWasProbablyMeant) {
  const auto configuration = ParseConfiguration("coordinater = 'a:1'\n", "fedtune.toml", {});
  ASSERT_THAT(configuration, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(Message(configuration.status()),
            "fedtune.toml:1: unknown key \"coordinater\"; did you mean coordinator?");
}

TEST(ConfigurationTest, RefusesAnEmptyNameOfAFile) {
  const auto configuration = ParseConfiguration("key = ''\n", "fedtune.toml", {});
  ASSERT_THAT(configuration, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(Message(configuration.status()),
            "fedtune.toml:1: key must not be empty; to go without it, leave the key out");
}

}  // namespace
}  // namespace fedtune
