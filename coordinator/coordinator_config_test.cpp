// SPDX-License-Identifier: Apache-2.0

#include "coordinator/coordinator_config.h"

#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

absl::StatusOr<CoordinatorConfig> Parse(std::string_view toml, const CoordinatorFlags& flags = {}) {
  return ParseCoordinatorConfig(toml, "/etc/fedtune/coordinator.toml", flags);
}

TEST(CoordinatorConfigTest, NeedsOnlyAStateDirectory) {
  const auto config = Parse("state_dir = \"/var/lib/fedtune\"");
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->listen, "0.0.0.0:7443");
  EXPECT_EQ(config->credentials.key, "/var/lib/fedtune/keys/key.pem");
  EXPECT_EQ(config->signing_roster, "");
  EXPECT_EQ(config->revocation_list, "");
  EXPECT_EQ(config->keep_adapters, 3);
  EXPECT_EQ(config->backup_dir, "/var/lib/fedtune/backups");
  EXPECT_EQ(config->backup_minutes, 60);
  EXPECT_EQ(config->keep_backups, 24);
  EXPECT_EQ(config->connections_per_address, 256);
  EXPECT_EQ(config->log_format, Log::Format::kKeyValue);
}

TEST(CoordinatorConfigTest, ReadsEveryKey) {
  const auto config = Parse(R"(
    listen = "127.0.0.1:1"
    state_dir = "state"
    certificate = "c.pem"
    key = "/secret/k.pem"
    authority = "a.pem"
    signing_roster = "roster.json"
    revocation_list = "revoked.crl"
    keep_adapters = 9
    backup_dir = "/mnt/backup"
    backup_minutes = 0
    keep_backups = 5
    connections_per_address = 4096
    log_format = "json"
  )");
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->listen, "127.0.0.1:1");
  EXPECT_EQ(config->state_dir, "/etc/fedtune/state");
  EXPECT_EQ(config->credentials.certificate, "/etc/fedtune/c.pem");
  EXPECT_EQ(config->credentials.key, "/secret/k.pem");
  EXPECT_EQ(config->credentials.authority, "/etc/fedtune/a.pem");
  EXPECT_EQ(config->signing_roster, "/etc/fedtune/roster.json");
  EXPECT_EQ(config->revocation_list, "/etc/fedtune/revoked.crl");
  EXPECT_EQ(config->keep_adapters, 9);
  EXPECT_EQ(config->backup_dir, "/mnt/backup");
  EXPECT_EQ(config->backup_minutes, 0);
  EXPECT_EQ(config->keep_backups, 5);
  EXPECT_EQ(config->connections_per_address, 4096);
  EXPECT_EQ(config->log_format, Log::Format::kJson);
}

TEST(CoordinatorConfigTest, FlagsWinOverTheFile) {
  const CoordinatorFlags flags{.listen = "[::]:2",
                               .state_dir = "here",
                               .certificate = "c2.pem",
                               .key = "k2.pem",
                               .authority = "a2.pem",
                               .signing_roster = "r2.json",
                               .revocation_list = "l2.crl",
                               .keep_adapters = 7,
                               .backup_dir = "b2",
                               .backup_minutes = 6,
                               .keep_backups = 8,
                               .connections_per_address = 16,
                               .log_format = "text"};
  const auto config = Parse("state_dir = \"there\"\nlog_format = \"json\"", flags);
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->listen, "[::]:2");
  EXPECT_EQ(config->state_dir, "here");
  EXPECT_EQ(config->credentials.certificate, "c2.pem");
  EXPECT_EQ(config->credentials.key, "k2.pem");
  EXPECT_EQ(config->credentials.authority, "a2.pem");
  EXPECT_EQ(config->signing_roster, "r2.json");
  EXPECT_EQ(config->revocation_list, "l2.crl");
  EXPECT_EQ(config->keep_adapters, 7);
  EXPECT_EQ(config->backup_dir, "b2");
  EXPECT_EQ(config->backup_minutes, 6);
  EXPECT_EQ(config->keep_backups, 8);
  EXPECT_EQ(config->connections_per_address, 16);
  EXPECT_EQ(config->log_format, Log::Format::kKeyValue);
}

TEST(CoordinatorConfigTest, NamesAnUnknownKeyAndItsLine) {
  const auto config = Parse("state_dir = \"x\"\nlisten_on = \"y\"");
  ASSERT_THAT(config, HasCode(kInvalid));
  EXPECT_THAT(std::string(Message(config.status())),
              HasSubstr("/etc/fedtune/coordinator.toml:2: unknown key \"listen_on\""));
}

TEST(CoordinatorConfigTest, RefusesAMissingStateDirectory) {
  EXPECT_THAT(Parse(""), HasCode(kInvalid));
}

TEST(CoordinatorConfigTest, RefusesToKeepOneAdapterOnly) {
  EXPECT_THAT(Parse("state_dir = \"x\"\nkeep_adapters = 1"), HasCode(kInvalid));
}

TEST(CoordinatorConfigTest, RefusesBackupsLessOftenThanAWeek) {
  EXPECT_THAT(Parse("state_dir = \"x\"\nbackup_minutes = 10081"), HasCode(kInvalid));
  EXPECT_THAT(Parse("state_dir = \"x\"\nbackup_minutes = -1"), HasCode(kInvalid));
}

TEST(CoordinatorConfigTest, RefusesToKeepNoBackup) {
  EXPECT_THAT(Parse("state_dir = \"x\"\nkeep_backups = 0"), HasCode(kInvalid));
}

// Where it would take them for contributions, or for blobs that nobody needs.
TEST(CoordinatorConfigTest, RefusesBackupsAmongWhatItWorksWith) {
  for (const std::string folder : {"state", "state/", "state/blobs", "state/x/../spool/y"}) {
    const auto config = Parse("state_dir = \"state/\"\nbackup_dir = \"" + folder + "\"\n");
    EXPECT_THAT(Message(config.status()), HasSubstr("uses for other things")) << folder;
  }
  for (const std::string folder : {"state/backups", "state/spools", "states", "/mnt/state/blobs"}) {
    EXPECT_THAT(Parse("state_dir = \"state\"\nbackup_dir = \"" + folder + "\"\n"), IsOk());
  }
}

// As of a template whose variable has no value: it would serve plain runs alone.
TEST(CoordinatorConfigTest, TakesAnEmptyNameOfAFileForNoDecision) {
  EXPECT_EQ(Message(Parse("state_dir = \"state\"\nsigning_roster = \"\"\n").status()),
            "/etc/fedtune/coordinator.toml:2: signing_roster must not be empty; to go without it, "
            "leave the key out");
  CoordinatorFlags flags;
  flags.signing_roster = "";
  EXPECT_EQ(Message(Parse("state_dir = \"state\"\n", flags).status()),
            "--signing-roster must not be empty; to go without it, leave it out");
}

TEST(CoordinatorConfigTest, RefusesToTakeNoConnection) {
  EXPECT_THAT(Parse("state_dir = \"x\"\nconnections_per_address = 0"), HasCode(kInvalid));
}

TEST(CoordinatorConfigTest, RefusesAnUnknownLogFormat) {
  EXPECT_THAT(Parse("state_dir = \"x\"\nlog_format = \"xml\""), HasCode(kInvalid));
}

TEST(CoordinatorConfigTest, SaysThatTheFileIsMissing) {
  EXPECT_THAT(LoadCoordinatorConfig("/nowhere/coordinator.toml", {}),
              HasCode(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace fedtune
