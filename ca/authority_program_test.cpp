// SPDX-License-Identifier: Apache-2.0

#include "ca/authority_program.h"

#include <unistd.h>

#include <cctype>
#include <filesystem>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/sqlite/sqlite.h"
#include "gmock/gmock.h"
#include "tests/support/authority_fixture.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::IsOk;
using ::testing::Not;

using AuthorityProgramTest = testing::AuthorityFixture;

TEST_F(AuthorityProgramTest, SaysHowManyDaysThereCanBe) {
  for (const std::string days : {"0", "9999999", "99999999999"}) {
    EXPECT_EQ(Run({"init", "--federation", "south", "--dir", ca_ + "2", "--days", days}), 2);
    EXPECT_THAT(advice_, HasSubstr(days + " must be from 1 to 36500"));
    EXPECT_EQ(Run({"issue", "--dir", ca_, "--request", keys_ + "/request.pem", "--role", "client",
                   "--name", "st-anna", "--out", certificate_, "--days", days}),
              2);
    EXPECT_THAT(advice_, HasSubstr(days + " must be from 1 to 36500"));
  }
  EXPECT_FALSE(fs::exists(ca_ + "2"));
}

TEST_F(AuthorityProgramTest, WarnsOfSignersThatExpireSoonAndOfAnAuthorityThatDoes) {
  ASSERT_EQ(IssueTo("client", "st-anna"), 0);
  ASSERT_EQ(Run({"roster", "sign", "--dir", ca_}), 0);
  EXPECT_THAT(advice_, Not(HasSubstr("warning")));
  clock_.Advance(absl::Hours(24 * 70));
  ASSERT_EQ(Run({"roster", "sign", "--dir", ca_}), 0);
  EXPECT_THAT(advice_, HasSubstr("warning: the certificate of signer st-anna of federation north "
                                 "ends on 2027-04-15 (in 20 days)"));
  clock_.Advance(absl::Hours(24 * 51));
  ASSERT_EQ(Run({"request", "--federation", "north", "--role", "client", "--name", "uke", "--dir",
                 keys_ + "2"}),
            0);
  ASSERT_EQ(Run({"issue", "--dir", ca_, "--request", keys_ + "2/request.pem", "--role", "client",
                 "--name", "uke", "--out", certificate_ + "2"}),
            0);
  ASSERT_EQ(Run({"roster", "sign", "--dir", ca_}), 0);
  EXPECT_THAT(advice_, Not(HasSubstr("warning"))) << "st-anna has left";
  clock_.Advance(absl::Hours(24 * 3450));
  ASSERT_EQ(Run({"list", "--dir", ca_, "--json"}), 0);
  EXPECT_THAT(advice_, HasSubstr("warning: the certificate of the authority of federation north"));
  EXPECT_EQ(ResultLines().size(), 4u);
}

TEST_F(AuthorityProgramTest, IssuesListsAndShows) {
  ASSERT_EQ(IssueTo("client", "st-anna"), 0);
  EXPECT_EQ(result_, certificate_ + "\n");
  EXPECT_THAT(advice_, HasSubstr("Issued to signer st-anna of federation north until 2027-04-15"));
  EXPECT_THAT(advice_, HasSubstr("Issued to client st-anna of federation north until 2027-04-15"));

  ASSERT_EQ(Run({"list", "--dir", ca_}), 0);
  EXPECT_THAT(result_, HasSubstr("st-anna  client         2027-01-15  2027-04-15 (in 90 days)"));
  ASSERT_EQ(Run({"show", certificate_}), 0);
  EXPECT_THAT(result_, HasSubstr("certificate of client st-anna of federation north\n"));
}

TEST_F(AuthorityProgramTest, SpeaksJson) {
  ASSERT_EQ(IssueTo("client", "st-anna"), 0);
  ASSERT_EQ(Run({"list", "--dir", ca_, "--json"}), 0);
  const std::vector<nlohmann::json> listed = ResultLines();
  ASSERT_EQ(listed.size(), 2);
  EXPECT_EQ(listed[0].at("name"), "st-anna");
  EXPECT_EQ(listed[0].at("issued_at"), "2027-01-15T08:00:00Z");

  ASSERT_EQ(Run({"show", certificate_, "--json"}), 0);
  const std::vector<nlohmann::json> shown = ResultLines();
  ASSERT_EQ(shown.size(), 2);
  EXPECT_EQ(shown[0].at("kind"), "certificate");
  EXPECT_EQ(shown[0].at("serial"), listed[0].at("serial"));
  EXPECT_EQ(shown[0].at("expired"), false);
  EXPECT_EQ(shown[1].at("role"), "signer");

  ASSERT_EQ(Run({"show", keys_ + "/request.pem", "--json"}), 0);
  const std::vector<nlohmann::json> requests = ResultLines();
  ASSERT_EQ(requests.size(), 2);
  EXPECT_EQ(requests[0].at("kind"), "request");
  EXPECT_EQ(requests[0].at("key_fingerprint"), shown[0].at("key_fingerprint"));
  EXPECT_EQ(requests[1].at("key_fingerprint"), shown[1].at("key_fingerprint"));

  ASSERT_EQ(Run({"show", ca_ + "/ca.crt", "--json"}), 0);
  EXPECT_EQ(nlohmann::json::parse(result_).at("kind"), "authority");
}

TEST_F(AuthorityProgramTest, RecordsNothingThatItCannotHandOut) {
  const std::string nowhere = directory_.path() / "nowhere";
  EXPECT_EQ(Run({"issue", "--dir", ca_, "--request", keys_ + "/request.pem", "--role", "client",
                 "--name", "st-anna", "--out", nowhere + "/st-anna.crt"}),
            2);
  EXPECT_THAT(advice_, HasSubstr("there is no folder " + nowhere));
  ASSERT_EQ(Run({"list", "--dir", ca_, "--json"}), 0);
  EXPECT_EQ(result_, "");

  ASSERT_EQ(IssueTo("client", "st-anna"), 0);
  EXPECT_EQ(Run({"roster", "sign", "--dir", ca_, "--out", nowhere + "/roster.json"}), 2);
  ASSERT_EQ(Run({"roster", "sign", "--dir", ca_}), 0);
  EXPECT_THAT(advice_, HasSubstr("Version 1 "));
}

TEST_F(AuthorityProgramTest, SignsAndShowsARoster) {
  ASSERT_EQ(IssueTo("client", "st-anna"), 0);
  const std::string roster = directory_.path() / "roster.json";
  ASSERT_EQ(Run({"roster", "sign", "--dir", ca_, "--out", roster}), 0);
  EXPECT_EQ(result_, roster + "\n");
  EXPECT_THAT(advice_, HasSubstr("Version 1 with 1 institutions"));
  EXPECT_THAT(advice_, HasSubstr("the coordinator reads it when it starts"));
  ASSERT_EQ(Run({"roster", "show", roster}), 0);
  EXPECT_THAT(result_, HasSubstr("roster 1 of federation north\n"));
  EXPECT_THAT(result_, HasSubstr("not verified"));
  ASSERT_EQ(Run({"roster", "show", roster, "--authority", ca_ + "/ca.crt", "--json"}), 0);
  const auto shown = nlohmann::json::parse(result_);
  EXPECT_EQ(shown.at("verified"), true);
  EXPECT_EQ(shown.at("institutions")[0].at("name"), "st-anna");
  EXPECT_EQ(shown.at("institutions")[0].at("number"), 1);
}

TEST_F(AuthorityProgramTest, ARosterShowsAKeyByTheFingerprintOfItsRequest) {
  const std::string roster = directory_.path() / "roster.json";
  ASSERT_EQ(IssueTo("client", "st-anna"), 0);
  ASSERT_EQ(Run({"roster", "sign", "--dir", ca_, "--out", roster}), 0);
  ASSERT_EQ(Run({"roster", "show", roster, "--json"}), 0);
  const auto listed = nlohmann::json::parse(result_).at("institutions")[0].at("key_fingerprint");
  ASSERT_EQ(Run({"show", keys_ + "/request.pem"}), 0);
  EXPECT_THAT(result_, HasSubstr(listed.get<std::string>()));
  ASSERT_EQ(Run({"roster", "show", roster}), 0);
  EXPECT_THAT(result_, HasSubstr(listed.get<std::string>()));
}

TEST_F(AuthorityProgramTest, RenewsForTheSameRequestAndTheRosterKeepsTheKey) {
  const std::string roster = directory_.path() / "roster.json";
  ASSERT_EQ(IssueTo("client", "st-anna"), 0);
  ASSERT_EQ(Run({"roster", "sign", "--dir", ca_, "--out", roster}), 0);
  ASSERT_EQ(Run({"roster", "show", roster, "--json"}), 0);
  const auto before = nlohmann::json::parse(result_).at("institutions");

  clock_.Advance(absl::Hours(24 * 80));
  ASSERT_EQ(Run({"issue", "--dir", ca_, "--request", keys_ + "/request.pem", "--role", "client",
                 "--name", "st-anna", "--out", directory_.path() / "renewed.pem"}),
            0);
  EXPECT_THAT(advice_, HasSubstr("Issued to signer st-anna of federation north until 2027-07-04"));
  ASSERT_EQ(Run({"roster", "sign", "--dir", ca_, "--out", roster}), 0);
  ASSERT_EQ(Run({"roster", "show", roster, "--json"}), 0);
  EXPECT_EQ(nlohmann::json::parse(result_).at("institutions"), before);
}

TEST_F(AuthorityProgramTest, MakesAFederationKeyOnceForItsOwnerOnly) {
  const std::string file = keys_ + "/federation.key";
  EXPECT_EQ(Run({"federation-key", "--out", file}), 0);
  const std::string key = *ReadFile(file);
  EXPECT_THAT(key, ::testing::MatchesRegex("[0-9a-f]+\n"));
  EXPECT_EQ(key.size(), 65u);
  EXPECT_EQ(std::filesystem::status(file).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  EXPECT_NE(Run({"federation-key", "--out", file}), 0);
  EXPECT_EQ(Run({"federation-key", "--out", keys_ + "/nowhere/federation.key"}), 2);
  EXPECT_EQ(*ReadFile(file), key);
}

TEST_F(AuthorityProgramTest, SignsNoRosterOfNobody) {
  EXPECT_EQ(Run({"roster", "sign", "--dir", ca_}), 1);
  EXPECT_THAT(advice_, HasSubstr("no institution has a valid signing certificate"));
  EXPECT_FALSE(fs::exists(ca_ + "/roster.json"));
}

TEST_F(AuthorityProgramTest, RefusesToShowAChangedRosterAsVerified) {
  ASSERT_EQ(IssueTo("client", "st-anna"), 0);
  ASSERT_EQ(Run({"roster", "sign", "--dir", ca_}), 0);
  const std::string path = ca_ + "/roster.json";
  auto roster = nlohmann::json::parse(*ReadFile(path));
  roster["institutions"][0]["name"] = "uke";
  ASSERT_THAT(WriteFileAtomically(path, roster.dump()), IsOk());
  EXPECT_NE(Run({"roster", "show", path, "--authority", ca_ + "/ca.crt"}), 0);
  EXPECT_THAT(advice_, HasSubstr("was changed since"));
}

TEST_F(AuthorityProgramTest, MakesSigningKeysOnP256ForSitesThatAsk) {
  ASSERT_EQ(Run({"request", "--federation", "north", "--role", "client", "--name", "uke", "--dir",
                 keys_ + "2", "--fips"}),
            0);
  ASSERT_EQ(Run({"issue", "--dir", ca_, "--request", keys_ + "2/request.pem", "--role", "client",
                 "--name", "uke", "--out", certificate_}),
            0);
  ASSERT_EQ(Run({"roster", "sign", "--dir", ca_}), 0);
  const auto roster = nlohmann::json::parse(*ReadFile(ca_ + "/roster.json"));
  EXPECT_EQ(roster.at("institutions")[0].at("suite"), "ecdsa-p256");
  ASSERT_EQ(Run({"roster", "show", ca_ + "/roster.json", "--json"}), 0);
  const auto shown = nlohmann::json::parse(result_).at("institutions")[0].at("key_fingerprint");
  ASSERT_EQ(Run({"show", keys_ + "2/request.pem"}), 0);
  EXPECT_THAT(result_, HasSubstr(shown.get<std::string>()));
}

TEST_F(AuthorityProgramTest, RefusesAFileOfThreeRequests) {
  const std::string requests = *ReadFile(keys_ + "/request.pem");
  ASSERT_THAT(WriteFileAtomically(keys_ + "/request.pem", requests + requests), IsOk());
  EXPECT_EQ(IssueTo("client", "st-anna"), 2);
  EXPECT_THAT(advice_, HasSubstr("4 certificate requests in the file"));
}

TEST_F(AuthorityProgramTest, ListsNothingAsAnEmptyTableOrNoLines) {
  ASSERT_EQ(Run({"list", "--dir", ca_}), 0);
  EXPECT_THAT(result_, HasSubstr("NAME  ROLE"));
  ASSERT_EQ(Run({"list", "--dir", ca_, "--json"}), 0);
  EXPECT_EQ(result_, "");
}

TEST_F(AuthorityProgramTest, TellsWhatHasExpired) {
  ASSERT_EQ(IssueTo("client", "st-anna"), 0);
  clock_.Advance(absl::Hours(24 * 100));
  ASSERT_EQ(Run({"list", "--dir", ca_}), 0);
  EXPECT_THAT(result_, HasSubstr("2027-04-15 (expired 10 days ago)"));
}

TEST_F(AuthorityProgramTest, RefusesToMakeASecondAuthority) {
  EXPECT_EQ(Run({"init", "--federation", "north", "--dir", ca_}), 1);
  EXPECT_THAT(advice_, HasSubstr("never overwritten"));
}

TEST_F(AuthorityProgramTest, RefusesAnotherRoleThanRequested) {
  EXPECT_EQ(IssueTo("administrator", "st-anna"), 3);
  EXPECT_THAT(advice_, HasSubstr("but administrator st-anna of federation north was approved"));
  EXPECT_FALSE(fs::exists(certificate_));
  ASSERT_EQ(Run({"list", "--dir", ca_, "--json"}), 0);
  EXPECT_EQ(result_, "");
}

TEST_F(AuthorityProgramTest, RefusesAnotherNameThanRequested) {
  EXPECT_EQ(IssueTo("client", "uke"), 3);
}

TEST_F(AuthorityProgramTest, RefusesAnUnknownRole) {
  EXPECT_EQ(IssueTo("boss", "st-anna"), 2);
  EXPECT_THAT(advice_, HasSubstr("unknown role \"boss\""));
}

TEST_F(AuthorityProgramTest, RefusesToOverwriteACertificate) {
  ASSERT_EQ(IssueTo("client", "st-anna"), 0);
  EXPECT_EQ(IssueTo("client", "st-anna"), 1);
  EXPECT_THAT(advice_, HasSubstr("choose another name with --out"));
}

TEST_F(AuthorityProgramTest, RefusesARequestThatIsNone) {
  const std::string letter = directory_.path() / "letter.txt";
  ASSERT_THAT(WriteFileAtomically(letter, "a letter"), IsOk());
  EXPECT_EQ(Run({"issue", "--dir", ca_, "--request", letter, "--role", "client", "--name",
                 "st-anna", "--out", certificate_}),
            2);
  EXPECT_THAT(advice_, HasSubstr("letter.txt: no certificate request in PEM"));
  EXPECT_EQ(Run({"show", letter}), 2);
}

TEST_F(AuthorityProgramTest, NeverMakesASecondKeyInOneFolder) {
  EXPECT_EQ(Run({"request", "--federation", "north", "--role", "client", "--name", "st-anna",
                 "--dir", keys_}),
            1);
  EXPECT_THAT(advice_, HasSubstr("a key is never overwritten"));
}
}  // namespace
}  // namespace fedtune
