// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/signing_roster.h"

#include <functional>
#include <string>

#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "privacy/identity/certificate_authority.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using Json = nlohmann::ordered_json;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kUnauthenticated = absl::StatusCode::kUnauthenticated;

CertificateAuthority MakeAuthority(std::string_view federation) {
  return *CertificateAuthority::Create(federation, absl::Hours(24 * 365), kNow);
}

SigningKey KeyOf(const CertificateAuthority& authority) {
  return *SigningKey::ParsePem(authority.key().ToPem().RevealText());
}

// St. Anna signs with Ed25519, UKE with P-256.
class SigningRosterTest : public ::testing::Test {
 protected:
  SigningRosterTest() {
    content_ = {.federation = "north",
                .version = 7,
                .signed_at = kNow,
                .entries = {{1, "st-anna", st_anna_.suite(), st_anna_.public_key()},
                            {4, "uke", uke_.suite(), uke_.public_key()}}};
  }

  std::string Text() const { return *SignRoster(content_, KeyOf(authority_)); }

  absl::StatusOr<SigningRoster> Verify(const std::string& text, absl::Time now = kNow) const {
    return SigningRoster::Verify(text, authority_.ToPem(), now);
  }

  // Why the roster is refused after `change` to its text's JSON.
  std::string Refusal(const std::function<void(Json&)>& change, absl::StatusCode code) const {
    Json json = Json::parse(Text());
    change(json);
    const absl::Status status = Verify(json.dump()).status();
    EXPECT_THAT(status, HasCode(code));
    return std::string(Message(status));
  }

  // Why no authority signs the content.
  std::string Unsignable() const {
    const absl::Status status = SignRoster(content_, KeyOf(authority_)).status();
    EXPECT_THAT(status, HasCode(kInvalid));
    return std::string(Message(status));
  }

  const CertificateAuthority authority_ = MakeAuthority("north");
  const SigningKey st_anna_ = SigningKey::Generate(CipherSuite::kCurve25519);
  const SigningKey uke_ = SigningKey::Generate(CipherSuite::kNistP256);
  RosterContent content_;
};

TEST_F(SigningRosterTest, IsWhatTheAuthoritySigned) {
  const auto roster = Verify(Text());
  ASSERT_THAT(roster, IsOk());
  EXPECT_EQ(roster->federation(), "north");
  EXPECT_EQ(roster->version(), 7);
  EXPECT_EQ(roster->signed_at(), kNow);
  EXPECT_EQ(roster->entries(), content_.entries);
  EXPECT_EQ(roster->Find(4u), &roster->entries()[1]);
  EXPECT_EQ(roster->Find("st-anna"), &roster->entries()[0]);
  EXPECT_EQ(roster->Find(2u), nullptr);
  EXPECT_EQ(roster->Find(5u), nullptr);
  EXPECT_EQ(roster->Find("st-elsewhere"), nullptr);
}

TEST_F(SigningRosterTest, HasOneDigestHoweverItsTextIsLaidOut) {
  const std::string text = Text();
  const auto compact = Verify(Json::parse(text).dump());
  ASSERT_THAT(compact, IsOk());
  EXPECT_EQ(compact->digest(), Verify(text)->digest());
  content_.version = 8;
  EXPECT_NE(Verify(Text())->digest(), compact->digest());
}

TEST_F(SigningRosterTest, RefusesEveryChangedByte) {
  const std::string text = Text();
  for (size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    EXPECT_FALSE(Verify(changed).ok()) << "byte " << i << ": " << text[i];
  }
}

TEST_F(SigningRosterTest, RefusesEveryShorterText) {
  const std::string text = Text();
  for (size_t size = 0; size + 1 < text.size(); ++size) {
    EXPECT_THAT(Verify(text.substr(0, size)), HasCode(kInvalid)) << size;
  }
}

TEST_F(SigningRosterTest, RefusesAnotherFederations) {
  const CertificateAuthority south = MakeAuthority("south");
  const absl::Status status = SigningRoster::Verify(Text(), south.ToPem(), kNow).status();
  EXPECT_THAT(status, HasCode(kUnauthenticated));
  EXPECT_THAT(std::string(Message(status)), HasSubstr("is of federation north, but"));
}

TEST_F(SigningRosterTest, RefusesAnotherAuthorityOfTheSameName) {
  const CertificateAuthority other = MakeAuthority("north");
  EXPECT_THAT(SigningRoster::Verify(Text(), other.ToPem(), kNow), HasCode(kUnauthenticated));
}

TEST_F(SigningRosterTest, RefusesAnAuthorityThatIsNone) {
  EXPECT_THAT(SigningRoster::Verify(Text(), "a letter", kNow), HasCode(kInvalid));
}

TEST_F(SigningRosterTest, RefusesAMovedKey) {
  EXPECT_THAT(Refusal([](Json& json) { json["institutions"][0]["number"] = 3; }, kUnauthenticated),
              HasSubstr("was changed since"));
  EXPECT_THAT(Refusal([](Json& json) { json["version"] = 8; }, kUnauthenticated),
              HasSubstr("was changed since"));
}

TEST_F(SigningRosterTest, RefusesOneOfTheFuture) {
  EXPECT_THAT(Verify(Text(), kNow - absl::Minutes(4)), IsOk());
  EXPECT_THAT(Verify(Text(), kNow - absl::Minutes(6)), HasCode(kUnauthenticated));
}

TEST_F(SigningRosterTest, RefusesAnAuthorityThatHasExpired) {
  EXPECT_THAT(Verify(Text(), kNow + absl::Hours(24 * 366)), HasCode(kUnauthenticated));
}

TEST_F(SigningRosterTest, RefusesANumberThatIsThereTwice) {
  content_.entries[1].number = 1;
  EXPECT_THAT(Unsignable(), HasSubstr("institutions[1]: number 1 does not follow 1"));
}

TEST_F(SigningRosterTest, RefusesNumbersOutOfOrder) {
  std::swap(content_.entries[0], content_.entries[1]);
  EXPECT_THAT(Unsignable(), HasSubstr("institutions[1]: number 1 does not follow 4"));
}

TEST_F(SigningRosterTest, RefusesTheNumberZero) {
  content_.entries[0].number = 0;
  EXPECT_THAT(Unsignable(), HasSubstr("institutions[0]: number 0"));
}

TEST_F(SigningRosterTest, RefusesAnInstitutionThatIsThereTwice) {
  content_.entries[1].institution = "st-anna";
  EXPECT_THAT(Unsignable(), HasSubstr("institutions[1]: name \"st-anna\" is there twice"));
}

TEST_F(SigningRosterTest, RefusesAKeyThatIsThereTwice) {
  content_.entries[1].suite = st_anna_.suite();
  content_.entries[1].public_key = st_anna_.public_key();
  EXPECT_THAT(Unsignable(), HasSubstr("institutions[1]: public_key is there twice"));
}

TEST_F(SigningRosterTest, RefusesAKeyOfAnotherSuite) {
  content_.entries[0].suite = CipherSuite::kNistP256;
  EXPECT_THAT(Unsignable(), HasSubstr("institutions[0]: public_key is none of ecdsa-p256"));
}

TEST_F(SigningRosterTest, RefusesAPointThatIsNotOnTheCurve) {
  content_.entries[1].public_key.back() ^= 1;
  EXPECT_THAT(Unsignable(), HasSubstr("institutions[1]: public_key is none of ecdsa-p256"));
}

TEST_F(SigningRosterTest, RefusesANameThatIsNone) {
  content_.entries[0].institution = "St. Anna";
  EXPECT_THAT(Unsignable(), HasSubstr("institutions[0]: name \"St. Anna\" is not a name"));
}

TEST_F(SigningRosterTest, RefusesAFederationThatIsNone) {
  content_.federation = "";
  EXPECT_THAT(Unsignable(), HasSubstr("federation"));
}

TEST_F(SigningRosterTest, RefusesVersionZero) {
  content_.version = 0;
  EXPECT_THAT(Unsignable(), HasSubstr("version must be 1 or more"));
}

TEST_F(SigningRosterTest, RefusesMoreEntriesThanItsLimit) {
  content_.entries.resize(kMostRosterEntries + 1, content_.entries[0]);
  EXPECT_THAT(Unsignable(), HasSubstr("institutions has 10001 entries"));
}

TEST_F(SigningRosterTest, RefusesAnUnknownSuite) {
  EXPECT_THAT(Refusal([](Json& json) { json["institutions"][1]["suite"] = "rsa"; }, kInvalid),
              HasSubstr("institutions[1].suite must be ed25519 or ecdsa-p256"));
}

TEST_F(SigningRosterTest, RefusesTextInPlaceOfANumber) {
  EXPECT_THAT(Refusal([](Json& json) { json["institutions"][1]["number"] = "4"; }, kInvalid),
              HasSubstr("institutions[1].number must be a whole number"));
  EXPECT_THAT(Refusal([](Json& json) { json["version"] = -1; }, kInvalid),
              HasSubstr("version must be a whole number"));
}

TEST_F(SigningRosterTest, RefusesANumberOfMoreThan32Bits) {
  EXPECT_THAT(Refusal([](Json& json) { json["institutions"][1]["number"] = 4294967300; }, kInvalid),
              HasSubstr("institutions[1].number must be a whole number from 0 to 4294967295"));
}

TEST_F(SigningRosterTest, RefusesWhatIsNotBase64) {
  EXPECT_THAT(Refusal([](Json& json) { json["institutions"][0]["public_key"] = "#"; }, kInvalid),
              HasSubstr("institutions[0].public_key must be base64"));
}

TEST_F(SigningRosterTest, RefusesASignatureOfAnotherSize) {
  EXPECT_THAT(Refusal([](Json& json) { json["signature"] = "AAAA"; }, kInvalid),
              HasSubstr("signature must have 64 bytes"));
}

TEST_F(SigningRosterTest, RefusesATimeThatIsNone) {
  EXPECT_THAT(Refusal([](Json& json) { json["signed_at"] = "yesterday"; }, kInvalid),
              HasSubstr("signed_at must be a time"));
  EXPECT_THAT(Refusal([](Json& json) { json["signed_at"] = "infinite-past"; }, kInvalid),
              HasSubstr("signed_at must be a time"));
}

TEST_F(SigningRosterTest, RefusesAnotherFormat) {
  EXPECT_THAT(Refusal([](Json& json) { json["format"] = "2"; }, kInvalid),
              HasSubstr("format must be \"fedtune signing roster 1\""));
}

TEST_F(SigningRosterTest, RefusesAMissingMember) {
  EXPECT_THAT(Refusal([](Json& json) { json.erase("federation"); }, kInvalid),
              HasSubstr("federation must be a text"));
}

TEST_F(SigningRosterTest, RefusesMembersThatItDoesNotKnow) {
  EXPECT_THAT(Refusal([](Json& json) { json["more"] = 1; }, kInvalid), HasSubstr("more members"));
  EXPECT_THAT(Refusal([](Json& json) { json["institutions"][0]["more"] = 1; }, kInvalid),
              HasSubstr("more members"));
}

TEST_F(SigningRosterTest, RefusesInstitutionsThatAreNoArrayOrNoObjects) {
  EXPECT_THAT(Refusal([](Json& json) { json["institutions"] = 1; }, kInvalid),
              HasSubstr("institutions must be an array"));
  EXPECT_THAT(Refusal([](Json& json) { json["institutions"][0] = 1; }, kInvalid),
              HasSubstr("institutions[0]. must be an object"));
}

TEST_F(SigningRosterTest, SaysAtWhichByteTheTextIsNoJson) {
  EXPECT_THAT(std::string(Message(Verify("{\"format\": }").status())), HasSubstr("byte"));
}

TEST_F(SigningRosterTest, RefusesATextThatIsTooLong) {
  EXPECT_THAT(std::string(Message(Verify(std::string(kLongestRoster + 1, ' ')).status())),
              HasSubstr("too many for a roster"));
}

TEST_F(SigningRosterTest, FollowsAnOlderOneAndItself) {
  const auto seven = Verify(Text());
  content_.version = 8;
  const auto eight = Verify(Text());
  EXPECT_THAT(seven->CheckFollows({}), IsOk());
  EXPECT_THAT(seven->CheckFollows(seven->mark()), IsOk());
  EXPECT_THAT(eight->CheckFollows(seven->mark()), IsOk());
}

TEST_F(SigningRosterTest, RefusesAnOlderOneThanWasSeen) {
  const auto seven = Verify(Text());
  content_.version = 8;
  EXPECT_THAT(seven->CheckFollows(Verify(Text())->mark()),
              HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST_F(SigningRosterTest, RefusesASecondOneOfTheSameVersion) {
  const auto first = Verify(Text());
  content_.entries.pop_back();
  EXPECT_THAT(Verify(Text())->CheckFollows(first->mark()),
              HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST_F(SigningRosterTest, SaysWhetherAKeyIsListed) {
  const auto roster = Verify(Text());
  EXPECT_THAT(roster->CheckLists("st-anna", st_anna_), IsOk());
  const absl::Status another = roster->CheckLists("uke", st_anna_);
  EXPECT_THAT(another, HasCode(absl::StatusCode::kFailedPrecondition));
  const absl::Status missing = roster->CheckLists("st-elsewhere", st_anna_);
  EXPECT_THAT(missing, HasCode(absl::StatusCode::kNotFound));
  for (const absl::Status& refusal : {another, missing}) {
    EXPECT_THAT(std::string(Message(refusal)), HasSubstr("coordinator has to be restarted"));
  }
}

}  // namespace
}  // namespace fedtune
