// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/certificate_authority.h"

#include <string>

#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);
constexpr absl::Duration kDay = absl::Hours(24);

const Identity kStAnna = {.federation = "north", .role = Role::kClient, .name = "st-anna"};
const Identity kHub = {.federation = "north", .role = Role::kCoordinator, .name = "hub"};
const Identity kAda = {.federation = "north", .role = Role::kAdministrator, .name = "ada"};

class CertificateAuthorityTest : public ::testing::Test {
 protected:
  CertificateRequest Request(const Identity& identity) {
    return *CertificateRequest::Parse(*MakeCertificateRequest(key_, identity));
  }

  absl::StatusOr<std::string> Issue(const Identity& identity, std::vector<std::string> hosts = {},
                                    absl::Duration valid_for = 30 * kDay) {
    return authority_.Issue(
        Request(identity),
        {.identity = identity, .hosts = std::move(hosts), .valid_for = valid_for}, kNow);
  }

  const PrivateKey key_ = PrivateKey::Generate();
  const CertificateAuthority authority_ = *CertificateAuthority::Create("north", 365 * kDay, kNow);
};

TEST_F(CertificateAuthorityTest, IssuesWhatIsGoodForItsRoleOnly) {
  for (const Identity& identity : {kStAnna, kHub, kAda}) {
    const absl::StatusOr<std::string> pem = Issue(identity);
    ASSERT_THAT(pem, IsOk());
    for (const Role role : {Role::kClient, Role::kCoordinator, Role::kAdministrator}) {
      EXPECT_EQ(CheckCertificate(*pem, authority_.ToPem(), role, kNow).ok(), role == identity.role);
    }
  }
}

TEST_F(CertificateAuthorityTest, GivesACoordinatorItsHostsAndTheNameThatAllAskFor) {
  EXPECT_THAT(ParseCertificate(*Issue(kHub, {"fl.example.org", "10.0.0.7", "fd00::1"}))->hosts,
              ElementsAre("fl.example.org", "10.0.0.7", "fd00::1", kCoordinatorHost));
  EXPECT_THAT(ParseCertificate(*Issue(kHub, {kCoordinatorHost}))->hosts,
              ElementsAre(kCoordinatorHost));
}

TEST_F(CertificateAuthorityTest, GivesOthersNoHosts) {
  EXPECT_THAT(ParseCertificate(*Issue(kStAnna))->hosts, IsEmpty());
  EXPECT_THAT(Issue(kStAnna, {"fl.example.org"}), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(CertificateAuthorityTest, NeverGivesASerialTwice) {
  EXPECT_NE(ParseCertificate(*Issue(kStAnna))->serial, ParseCertificate(*Issue(kStAnna))->serial);
}

TEST_F(CertificateAuthorityTest, RefusesToIssueAnotherIdentityThanRequested) {
  const absl::Status status =
      authority_.Issue(Request(kAda), {.identity = kStAnna, .hosts = {}, .valid_for = kDay}, kNow)
          .status();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(std::string(Message(status)),
              HasSubstr("the request is of administrator ada of federation north, but client "
                        "st-anna of federation north was approved"));
}

TEST_F(CertificateAuthorityTest, RefusesAnotherFederation) {
  EXPECT_THAT(Issue({.federation = "south", .role = Role::kClient, .name = "st-anna"}),
              HasCode(absl::StatusCode::kInvalidArgument));
}

class WrongHostTest : public CertificateAuthorityTest,
                      public ::testing::WithParamInterface<const char*> {};

TEST_P(WrongHostTest, IsRefused) {
  EXPECT_THAT(Issue(kHub, {GetParam()}), HasCode(absl::StatusCode::kInvalidArgument));
}

INSTANTIATE_TEST_SUITE_P(Hosts, WrongHostTest,
                         ::testing::Values("", ".", "example.org.", "*.example.org", "a b",
                                           "fl.example.org:7443", "https://fl.example.org",
                                           "-a.example.org", "a_b.example.org",
                                           "fl.example.org,DNS:evil.example.org"));

TEST_F(CertificateAuthorityTest, RefusesToOutliveItself) {
  EXPECT_THAT(Issue(kStAnna, {}, 366 * kDay), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(CertificateAuthorityTest, RefusesATimeThatIsOver) {
  EXPECT_THAT(Issue(kStAnna, {}, absl::ZeroDuration()),
              HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Issue(kStAnna, {}, -kDay), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(CertificateAuthorityTest, RefusesAWrongFederationName) {
  EXPECT_THAT(CertificateAuthority::Create("North Sea", 365 * kDay, kNow),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(CertificateAuthorityTest, RefusesToLiveShorterThanADay) {
  EXPECT_THAT(CertificateAuthority::Create("north", absl::Hours(1), kNow),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(CertificateAuthorityTest, GoesOnAfterItWasStored) {
  absl::StatusOr<PrivateKey> key = PrivateKey::ParsePem(authority_.key().ToPem().RevealText());
  const auto restored = CertificateAuthority::Restore(*std::move(key), authority_.ToPem());
  ASSERT_THAT(restored, IsOk());
  const auto pem = restored->Issue(Request(kStAnna),
                                   {.identity = kStAnna, .hosts = {}, .valid_for = kDay}, kNow);
  EXPECT_THAT(CheckCertificate(*pem, authority_.ToPem(), Role::kClient, kNow), IsOk());
}

TEST_F(CertificateAuthorityTest, RefusesTheKeyOfAnother) {
  EXPECT_THAT(CertificateAuthority::Restore(PrivateKey::Generate(), authority_.ToPem()),
              HasCode(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace fedtune
