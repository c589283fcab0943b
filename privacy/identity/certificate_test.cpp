// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/certificate.h"

#include <string>

#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/identity/certificate_authority.h"
#include "privacy/identity/forged_certificate.h"
#include "privacy/identity/public_key.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::ForgeCertificate;
using testing::Forgery;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::KeyOn;
using testing::SoundForgery;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);  // 2027-01-15
constexpr char kStAnnaUri[] = "URI:fedtune://north/client/st-anna";

class CertificateTest : public ::testing::Test {
 protected:
  static CertificateAuthority NewAuthority(std::string_view federation = "north") {
    return *CertificateAuthority::Create(federation, absl::Hours(24 * 365), kNow);
  }

  // St. Anna's certificate for 30 days, or one for another role.
  std::string Issue(const CertificateAuthority& authority, Role role = Role::kClient) {
    const Identity identity = {
        .federation = authority.certificate().federation, .role = role, .name = "st-anna"};
    const auto request = *CertificateRequest::Parse(*MakeCertificateRequest(key_, identity));
    return *authority.Issue(
        request, {.identity = identity, .hosts = {}, .valid_for = absl::Hours(24 * 30)}, kNow);
  }

  std::string Forge(const Forgery& forgery) {
    return ForgeCertificate(forgery, key_.get(), authority_.key(), authority_.ToPem());
  }

  absl::StatusOr<Certificate> CheckClient(const std::string& pem, absl::Time now = kNow) {
    return CheckCertificate(pem, authority_.ToPem(), Role::kClient, now);
  }

  // The message with which `pem` is refused, for a reason of this kind.
  std::string Refusal(const std::string& pem, absl::StatusCode code, absl::Time now = kNow) {
    const absl::Status status = CheckClient(pem, now).status();
    EXPECT_THAT(status, HasCode(code));
    return std::string(Message(status));
  }

  // The message with which a certificate that is not even well-formed is.
  std::string Malformed(const std::string& pem) {
    EXPECT_FALSE(ParseCertificate(pem).ok());
    return Refusal(pem, absl::StatusCode::kInvalidArgument);
  }

  const PrivateKey key_ = PrivateKey::Generate();
  const CertificateAuthority authority_ = NewAuthority();
};

TEST_F(CertificateTest, SaysWhoItIsAndUntilWhen) {
  const absl::StatusOr<Certificate> certificate = CheckClient(Issue(authority_));
  ASSERT_THAT(certificate, IsOk());
  EXPECT_EQ(ToUri(certificate->identity), "fedtune://north/client/st-anna");
  EXPECT_EQ(certificate->not_after, kNow + absl::Hours(24 * 30));
  EXPECT_EQ(certificate->key_fingerprint, KeyFingerprint(key_.get()));
  EXPECT_GT(certificate->serial.size(), 24u);
}

TEST_F(CertificateTest, TheSoundForgeryIsSound) {
  EXPECT_THAT(CheckClient(Forge(SoundForgery(kStAnnaUri, kNow))), IsOk());
}

TEST_F(CertificateTest, RefusesAnotherAuthority) {
  EXPECT_THAT(Refusal(Issue(NewAuthority("south")), absl::StatusCode::kUnauthenticated),
              HasSubstr("certificate of another authority: client st-anna of federation south"));
}

TEST_F(CertificateTest, RefusesAnotherAuthorityOfTheSameName) {
  EXPECT_THAT(Refusal(Issue(NewAuthority("north")), absl::StatusCode::kUnauthenticated),
              HasSubstr("certificate of another authority"));
}

TEST_F(CertificateTest, RefusesASelfSignedCertificate) {
  EXPECT_THAT(Refusal(ForgeCertificate(SoundForgery(kStAnnaUri, kNow), key_.get(), key_,
                                       authority_.ToPem()),
                      absl::StatusCode::kUnauthenticated),
              HasSubstr("certificate of another authority"));
}

TEST_F(CertificateTest, RefusesAMemberAsAnAuthorityOfOthers) {
  const std::string member = Issue(authority_);
  const PrivateKey other = PrivateKey::Generate();
  const std::string pem = ForgeCertificate(SoundForgery("URI:fedtune://north/client/uke", kNow),
                                           other.get(), key_, member);
  EXPECT_THAT(Refusal(pem + member, absl::StatusCode::kUnauthenticated), HasSubstr("client uke"));
}

TEST_F(CertificateTest, RefusesAnExpiredOneAndSaysHowToRenewIt) {
  EXPECT_THAT(
      Refusal(Issue(authority_), absl::StatusCode::kUnauthenticated, kNow + absl::Hours(24 * 31)),
      HasSubstr("expired on 2027-02-14, and this machine's clock says 2027-02-15 08:00 UTC; the "
                "custodian issues a new one for the same request: fedtune-ca issue --dir CA "
                "--request request.pem --role client --name st-anna --out certificate.pem"));
}

TEST_F(CertificateTest, RefusesOneThatIsNotYetValidAndNamesTheClock) {
  EXPECT_THAT(
      Refusal(Issue(authority_), absl::StatusCode::kUnauthenticated, kNow - absl::Minutes(6)),
      HasSubstr("check this machine's clock"));
}

TEST_F(CertificateTest, ToleratesAClockThatIsALittleBehind) {
  EXPECT_THAT(CheckClient(Issue(authority_), kNow - absl::Minutes(4)), IsOk());
}

TEST_F(CertificateTest, RefusesAnExpiredAuthority) {
  Forgery forgery = SoundForgery(kStAnnaUri, kNow);
  forgery.not_after = kNow + absl::Hours(24 * 1000);
  EXPECT_THAT(
      Refusal(Forge(forgery), absl::StatusCode::kUnauthenticated, kNow + absl::Hours(24 * 500)),
      HasSubstr("authority of federation north expired on 2028-01-15"));
}

TEST_F(CertificateTest, RefusesAnotherRole) {
  const absl::Status status =
      CheckCertificate(Issue(authority_), authority_.ToPem(), Role::kAdministrator, kNow).status();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kPermissionDenied));
  EXPECT_EQ(Message(status),
            "the certificate is for client st-anna of federation north; an administrator's is "
            "needed");
}

TEST_F(CertificateTest, RefusesAnotherFederationUnderTheRightAuthority) {
  EXPECT_THAT(Refusal(Forge(SoundForgery("URI:fedtune://south/client/st-anna", kNow)),
                      absl::StatusCode::kUnauthenticated),
              HasSubstr("is of client st-anna of federation south, but the authority"));
}

TEST_F(CertificateTest, RefusesAClientThatCannotCall) {
  Forgery forgery = SoundForgery(kStAnnaUri, kNow);
  forgery.extensions[2] = {"extendedKeyUsage", "serverAuth"};
  EXPECT_THAT(Refusal(Forge(forgery), absl::StatusCode::kUnauthenticated), HasSubstr("is refused"));
}

TEST_F(CertificateTest, RefusesAnUnknownCriticalExtension) {
  Forgery forgery = SoundForgery(kStAnnaUri, kNow);
  forgery.extensions.emplace_back("1.2.3.4", "critical,DER:0500");
  EXPECT_THAT(Refusal(Forge(forgery), absl::StatusCode::kUnauthenticated), HasSubstr("is refused"));
}

TEST_F(CertificateTest, RefusesTwoIdentities) {
  EXPECT_THAT(
      Malformed(Forge(SoundForgery(
          "URI:fedtune://north/client/st-anna,URI:fedtune://north/administrator/eve", kNow))),
      HasSubstr("2 URIs"));
}

TEST_F(CertificateTest, RefusesNoIdentity) {
  Forgery forgery = SoundForgery(kStAnnaUri, kNow);
  forgery.extensions.pop_back();
  EXPECT_THAT(Malformed(Forge(forgery)), HasSubstr("no readable subject alternative names"));
}

TEST_F(CertificateTest, RefusesTwoListsOfNames) {
  Forgery forgery = SoundForgery(kStAnnaUri, kNow);
  forgery.extensions.emplace_back("subjectAltName", "URI:fedtune://north/administrator/eve");
  Malformed(Forge(forgery));
}

TEST_F(CertificateTest, RefusesHostsForAClient) {
  EXPECT_THAT(Malformed(Forge(SoundForgery(
                  "URI:fedtune://north/client/st-anna,DNS:coordinator.fedtune", kNow))),
              HasSubstr("names hosts"));
}

TEST_F(CertificateTest, RefusesAClientThatMayCertifyOthers) {
  Forgery forgery = SoundForgery(kStAnnaUri, kNow);
  forgery.extensions[0] = {"basicConstraints", "critical,CA:TRUE"};
  EXPECT_THAT(Malformed(Forge(forgery)), HasSubstr("an authority's certificate"));
}

TEST_F(CertificateTest, RefusesAnotherUseOfTheKey) {
  Forgery forgery = SoundForgery(kStAnnaUri, kNow);
  forgery.extensions[1] = {"keyUsage", "critical,digitalSignature,keyCertSign"};
  EXPECT_THAT(Malformed(Forge(forgery)), HasSubstr("another use"));
  forgery.extensions[1] = {"keyUsage", "critical,keyEncipherment"};
  EXPECT_THAT(Malformed(Forge(forgery)), HasSubstr("another use"));
}

TEST_F(CertificateTest, RefusesAnotherKindOfKey) {
  const auto key = KeyOn("P-384");
  EXPECT_THAT(Malformed(ForgeCertificate(SoundForgery(kStAnnaUri, kNow), key.get(),
                                         authority_.key(), authority_.ToPem())),
              HasSubstr("P-256"));
}

TEST_F(CertificateTest, RefusesTheAuthoritysOwnCertificate) {
  EXPECT_THAT(Malformed(authority_.ToPem()), HasSubstr("an authority's certificate"));
}

TEST_F(CertificateTest, RefusesWhatIsNoCertificate) {
  Malformed("a letter");
  Malformed("");
}

TEST_F(CertificateTest, RefusesADamagedSecondCertificate) {
  const std::string pem = Issue(authority_);
  std::string damaged = pem;
  damaged[60] = '!';
  Malformed(pem + damaged);
}

TEST_F(CertificateTest, RefusesAnEndlessChain) {
  std::string chain;
  for (int i = 0; i < 9; ++i) chain += Issue(authority_);
  EXPECT_THAT(Malformed(chain), HasSubstr("more than 8"));
}

TEST_F(CertificateTest, RefusesAMemberInThePlaceOfTheAuthority) {
  const std::string pem = Issue(authority_);
  EXPECT_THAT(CheckCertificate(pem, pem, Role::kClient, kNow),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(CertificateTest, RefusesTwoAuthoritiesInOneFile) {
  EXPECT_THAT(ParseAuthorityCertificate(authority_.ToPem() + NewAuthority("south").ToPem()),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(CertificateTest, RefusesAnAuthorityOfNoFederation) {
  Forgery forgery = SoundForgery("URI:https://example.org", kNow);
  forgery.extensions[0] = {"basicConstraints", "critical,CA:TRUE"};
  forgery.extensions[1] = {"keyUsage", "critical,keyCertSign"};
  EXPECT_THAT(ParseAuthorityCertificate(Forge(forgery)),
              HasCode(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace fedtune
