// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/roster_setting.h"

#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/identity/certificate_authority.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using ::testing::Pair;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

// St. Anna signs with Ed25519, UKE with P-256.
class RosterSettingTest : public ::testing::Test {
 protected:
  SigningRoster Roster() const {
    const auto authority = CertificateAuthority::Create("north", absl::Hours(24), kNow);
    const auto text =
        SignRoster({.federation = "north",
                    .version = 1,
                    .signed_at = kNow,
                    .entries = {{1, "st-anna", st_anna_.suite(), st_anna_.public_key()},
                                {4, "uke", uke_.suite(), uke_.public_key()}}},
                   *SigningKey::ParsePem(authority->key().ToPem().RevealText()));
    return *SigningRoster::Verify(*text, authority->ToPem(), kNow);
  }

  static Plan PlanWith(AggregationMode mode) {
    Plan plan;
    plan.aggregation.mode = mode;
    return plan;
  }

  const SigningKey st_anna_ = SigningKey::Generate(CipherSuite::kCurve25519);
  const SigningKey uke_ = SigningKey::Generate(CipherSuite::kNistP256);
};

TEST_F(RosterSettingTest, InstitutionsWithoutAKeyOfThePlansSuiteAreLeftOut) {
  Plan plan = PlanWith(AggregationMode::kSecure);
  plan.secure.suite = CipherSuite::kNistP256;
  const SecureSetting setting = SecureSettingOf({}, plan, Roster());
  EXPECT_THAT(setting.numbers, ElementsAre(Pair(Institution{"uke"}, 4)));
  EXPECT_THAT(setting.signing_keys, ElementsAre(Pair(4, uke_.public_key())));
}

TEST_F(RosterSettingTest, ASessionIsBoundToTheRosterThePlanAndTheBaseModel) {
  RunRecord record;
  record.plan_toml = "name = 'icd10'";
  record.base_digest = "sha256:77";
  const SigningRoster roster = Roster();
  const SecureSetting setting = SecureSettingOf(record, PlanWith(AggregationMode::kSecure), roster);
  EXPECT_EQ(setting.federation, "north");
  EXPECT_EQ(setting.roster, roster.digest());
  EXPECT_EQ(setting.plan_toml, record.plan_toml);
  EXPECT_EQ(setting.base_digest, record.base_digest);
}

TEST_F(RosterSettingTest, OnlyASecurePlanNeedsARoster) {
  EXPECT_THAT(CheckCanAggregate(PlanWith(AggregationMode::kPlain), nullptr), IsOk());
  const absl::Status secure = CheckCanAggregate(PlanWith(AggregationMode::kSecure), nullptr);
  EXPECT_THAT(secure, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Message(secure), HasSubstr("signing_roster"));
}

}  // namespace
}  // namespace fedtune
