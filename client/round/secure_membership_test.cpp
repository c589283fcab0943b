// SPDX-License-Identifier: Apache-2.0

#include "client/round/secure_membership.h"

#include "base/files.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "privacy/identity/certificate_authority.h"
#include "privacy/identity/signing_roster.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::fedtune::testing::IsOk;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);
constexpr CipherSuite kSuite = CipherSuite::kCurve25519;

// St. Anna, number 3 beside UKE.
class SecureMembershipTest : public ::testing::Test {
 protected:
  std::string RosterOf(uint64_t version, const SigningKey& st_anna) const {
    const SigningKey authority = *SigningKey::ParsePem(authority_.key().ToPem().RevealText());
    return *SignRoster({.federation = "north",
                        .version = version,
                        .signed_at = kNow,
                        .entries = {{3, "st-anna", st_anna.suite(), st_anna.public_key()},
                                    {4, "uke", uke_.suite(), uke_.public_key()}}},
                       authority);
  }
  std::string Roster(uint64_t version = 7) const { return RosterOf(version, *st_anna_); }

  std::string Refusal(std::string_view roster, CipherSuite suite = kSuite) const {
    return std::string(Message(JoinSecureRun(source_, roster, suite, kNow).status()));
  }

  std::filesystem::path Written(const std::string& authority_pem) const {
    std::filesystem::path path = folder_.path() / "authority.pem";
    EXPECT_THAT(WriteFileAtomically(path, authority_pem), IsOk());
    return path;
  }

  uint64_t SeenVersion() const {
    return SigningRoster::Verify(*ReadFile(source_.seen_roster), authority_.ToPem(), kNow)
        ->version();
  }

  const testing::TemporaryDirectory folder_;
  const CertificateAuthority authority_ =
      *CertificateAuthority::Create("north", absl::Hours(24 * 365), kNow);
  const std::shared_ptr<const SigningKey> st_anna_ =
      std::make_shared<const SigningKey>(SigningKey::Generate(kSuite));
  const SigningKey uke_ = SigningKey::Generate(kSuite);
  const std::filesystem::path authority_pem_ = Written(authority_.ToPem());
  MembershipSource source_ = {.institution = "st-anna",
                              .key = st_anna_,
                              .authority = authority_pem_,
                              .seen_roster = folder_.path() / "roster.json"};
};

TEST_F(SecureMembershipTest, FindsItselfAndTheOthers) {
  const auto membership = JoinSecureRun(source_, Roster(), kSuite, kNow);
  ASSERT_THAT(membership, IsOk()) << membership.status();
  EXPECT_EQ(membership->federation, "north");
  EXPECT_EQ(membership->number, 3);
  EXPECT_EQ(membership->signing_keys.size(), 2);
  EXPECT_EQ(membership->signing_keys.at(4), uke_.public_key());
  EXPECT_EQ(membership->roster,
            SigningRoster::Verify(Roster(), authority_.ToPem(), kNow)->digest());
}

TEST_F(SecureMembershipTest, RemembersTheNewestRoster) {
  ASSERT_THAT(JoinSecureRun(source_, Roster(7), kSuite, kNow), IsOk());
  EXPECT_EQ(SeenVersion(), 7);
  ASSERT_THAT(JoinSecureRun(source_, Roster(8), kSuite, kNow), IsOk());
  EXPECT_EQ(SeenVersion(), 8);
  ASSERT_THAT(JoinSecureRun(source_, Roster(8), kSuite, kNow), IsOk()) << "the same again";
}

TEST_F(SecureMembershipTest, RefusesAnOlderRosterThanItHasSeen) {
  ASSERT_THAT(JoinSecureRun(source_, Roster(8), kSuite, kNow), IsOk());
  EXPECT_THAT(Refusal(Roster(7)), HasSubstr("older"));
  EXPECT_EQ(SeenVersion(), 8);
}

TEST_F(SecureMembershipTest, RefusesAnotherRosterOfTheSameVersion) {
  ASSERT_THAT(JoinSecureRun(source_, Roster(8), kSuite, kNow), IsOk());
  EXPECT_THAT(Refusal(RosterOf(8, SigningKey::Generate(kSuite))), HasSubstr("version 8"));
  EXPECT_EQ(SeenVersion(), 8);
}

TEST_F(SecureMembershipTest, SaysWhereTheAuthorityCannotBeRead) {
  std::filesystem::remove(authority_pem_);
  EXPECT_THAT(Refusal(Roster()), HasSubstr(authority_pem_.string()));
}

// The connection follows the file, too: no restart is needed.
TEST_F(SecureMembershipTest, SaysWhichFileToRemoveWhenTheFederationHasANewAuthority) {
  ASSERT_THAT(JoinSecureRun(source_, Roster(8), kSuite, kNow), IsOk());
  const auto successor = CertificateAuthority::Create("north", absl::Hours(24 * 365), kNow);
  ASSERT_THAT(successor, IsOk());
  Written(successor->ToPem());
  const SigningKey key = *SigningKey::ParsePem(successor->key().ToPem().RevealText());
  const std::string first =
      *SignRoster({.federation = "north",
                   .version = 1,
                   .signed_at = kNow,
                   .entries = {{3, "st-anna", st_anna_->suite(), st_anna_->public_key()}}},
                  key);
  const std::string file = source_.seen_roster.string();
  EXPECT_THAT(Refusal(first), AllOf(StartsWith("the roster seen last, " + file),
                                    EndsWith("a new authority since, or the file is damaged, "
                                             "remove it")));
  std::filesystem::remove(source_.seen_roster);
  EXPECT_THAT(JoinSecureRun(source_, first, kSuite, kNow), IsOk());
}

TEST_F(SecureMembershipTest, RefusesARosterThatTheAuthorityHasNotSigned) {
  std::string text = Roster();
  text.replace(text.find("st-anna"), 7, "st-inna");
  EXPECT_THAT(Refusal(text), HasSubstr("the coordinator's signing roster: "));
  EXPECT_FALSE(std::filesystem::exists(source_.seen_roster));
}

TEST_F(SecureMembershipTest, RefusesToGoWithoutARoster) {
  EXPECT_EQ(Refusal(""), "the coordinator sent no signing roster");
}

TEST_F(SecureMembershipTest, RefusesARosterWithAnotherKeyOfItsOwn) {
  const SigningKey other = SigningKey::Generate(kSuite);
  EXPECT_THAT(Refusal(RosterOf(7, other)), HasSubstr("key"));
}

TEST_F(SecureMembershipTest, RefusesARosterWithoutItself) {
  source_.institution = "charite";
  EXPECT_THAT(Refusal(Roster()), HasSubstr("charite"));
}

TEST_F(SecureMembershipTest, SaysThatItsKeyIsOfAnotherSuite) {
  EXPECT_EQ(Refusal(Roster(), CipherSuite::kNistP256),
            "its signing key is for ed25519, and the plan's secure.suite needs ecdsa-p256");
}

TEST_F(SecureMembershipTest, SaysWhyItHasNoKey) {
  source_.key = absl::NotFoundError("signing_key.pem: no such file");
  EXPECT_EQ(Refusal(Roster()), "it cannot sign in secure rounds: signing_key.pem: no such file");
}

}  // namespace
}  // namespace fedtune
