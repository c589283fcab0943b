// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/identity.h"

#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

const Identity kStAnna = {.federation = "north", .role = Role::kClient, .name = "st-anna"};

TEST(IdentityTest, IsAUri) {
  EXPECT_EQ(ToUri(kStAnna), "fedtune://north/client/st-anna");
  EXPECT_EQ(Describe(kStAnna), "client st-anna of federation north");
}

TEST(IdentityTest, ReadsBackEveryRole) {
  for (const Role role : {Role::kCoordinator, Role::kClient, Role::kAdministrator, Role::kSigner}) {
    const Identity identity = {.federation = "north", .role = role, .name = "a-9"};
    EXPECT_EQ(*ParseIdentityUri(ToUri(identity)), identity);
  }
}

class WrongIdentityTest : public ::testing::TestWithParam<const char*> {};

TEST_P(WrongIdentityTest, IsRefused) {
  EXPECT_THAT(ParseIdentityUri(GetParam()), HasCode(absl::StatusCode::kInvalidArgument));
}

INSTANTIATE_TEST_SUITE_P(
    Uris, WrongIdentityTest,
    ::testing::Values("", "north/client/st-anna", "spiffe://north/client/st-anna",
                      "FEDTUNE://north/client/st-anna", "fedtune://north/client",
                      "fedtune://north/client/", "fedtune:///client/st-anna",
                      "fedtune://north//st-anna", "fedtune://north/auditor/st-anna",
                      "fedtune://north/Client/st-anna", "fedtune://north/client/St-Anna",
                      "fedtune://north/client/st_anna", "fedtune://north/client/st-anna/",
                      "fedtune://north/client/st-anna?x=1", "fedtune://north/client/st%2danna",
                      "fedtune://north:1/client/st-anna", " fedtune://north/client/st-anna"));

TEST(IdentityNameTest, IsAtMost63CharactersLong) {
  EXPECT_THAT(CheckIdentityName("client", std::string(63, 'a')), IsOk());
  EXPECT_THAT(CheckIdentityName("client", std::string(64, 'a')),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(IdentityNameTest, MayNotHoldAZeroByte) {
  EXPECT_THAT(CheckIdentityName("client", std::string_view("a\0b", 3)),
              HasCode(absl::StatusCode::kInvalidArgument));
}

// A custodian reads what is wrong with somebody's request on a terminal.
TEST(IdentityTest, MakesUpNoLineOfItsOwnInAMessage) {
  for (const absl::Status& refused :
       {ParseIdentityUri("x\nkey sha256:00").status(), CheckIdentityName("client", "x\n\x1b[2J"),
        ParseRole("x\ny").status()}) {
    EXPECT_THAT(std::string(Message(refused)), HasSubstr("\"x\\n"));
  }
}

TEST(RoleTest, SaysWhichRolesThereAre) {
  const absl::Status status = ParseRole("admin").status();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(Message(status)),
              HasSubstr("coordinator, client, administrator and signer"));
}

}  // namespace
}  // namespace fedtune
