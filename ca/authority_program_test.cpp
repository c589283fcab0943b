// SPDX-License-Identifier: Apache-2.0

#include "ca/authority_program.h"

#include <unistd.h>

#include <cctype>
#include <filesystem>
#include <initializer_list>
#include <sstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/sqlite/sqlite.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "privacy/identity/certificate.h"
#include "privacy/identity/revocation_list.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

namespace fs = std::filesystem;
using testing::FakeClock;
using ::testing::HasSubstr;
using testing::IsOk;
using ::testing::Not;
using testing::TemporaryDirectory;
using ::testing::internal::CaptureStderr;
using ::testing::internal::CaptureStdout;
using ::testing::internal::GetCapturedStderr;
using ::testing::internal::GetCapturedStdout;

// A custodian with an authority, and St. Anna with a request.
class AuthorityProgramTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(Run({"init", "--federation", "north", "--dir", ca_}), 0);
    ASSERT_EQ(Run({"request", "--federation", "north", "--role", "client", "--name", "st-anna",
                   "--dir", keys_}),
              0);
  }

  int Run(std::initializer_list<std::string> words) { return RunWords(words); }

  int RunWords(const std::vector<std::string>& words) {
    std::vector<const char*> arguments = {"fedtune-ca"};
    for (const std::string& word : words) arguments.push_back(word.c_str());
    CaptureStdout();
    CaptureStderr();
    const int code =
        RunAuthorityProgram(static_cast<int>(arguments.size()), arguments.data(), clock_);
    result_ = GetCapturedStdout();
    advice_ = GetCapturedStderr();
    return code;
  }

  int IssueTo(const std::string& role, const std::string& name) {
    return Run({"issue", "--dir", ca_, "--request", keys_ + "/request.pem", "--role", role,
                "--name", name, "--out", certificate_});
  }

  std::vector<nlohmann::json> ResultLines() const {
    std::vector<nlohmann::json> lines;
    std::istringstream text(result_);
    for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
  }

  FakeClock clock_;
  const TemporaryDirectory directory_;
  const std::string ca_ = directory_.path() / "ca";
  const std::string keys_ = directory_.path() / "keys";
  const std::string certificate_ = directory_.path() / "st-anna.crt";
  std::string result_;  // What the last command wrote to stdout.
  std::string advice_;  // And to stderr.
};

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

// St. Anna has its certificates, and its laptop is stolen.
class RevokingTest : public AuthorityProgramTest {
 protected:
  void SetUp() override {
    AuthorityProgramTest::SetUp();
    ASSERT_EQ(IssueTo("client", "st-anna"), 0);
  }

  int Revoke(std::vector<std::string> how) {
    how.insert(how.begin(), {"revoke", "--dir", ca_});
    return RunWords(how);
  }

  // What the list holds that the custodian hands on.
  nlohmann::json ShownList() {
    EXPECT_EQ(Run({"show", list_, "--json"}), 0);
    return nlohmann::json::parse(result_);
  }

  std::vector<nlohmann::json> Listed() {
    EXPECT_EQ(Run({"list", "--dir", ca_, "--json"}), 0);
    return ResultLines();
  }

  const std::string list_ = ca_ + "/revoked.crl";
};

TEST_F(RevokingTest, RevokesAllThatAMemberHas) {
  ASSERT_EQ(Revoke({"--role", "client", "--name", "st-anna"}), 0);
  EXPECT_EQ(result_, list_ + "\n");
  EXPECT_THAT(advice_, HasSubstr("Revoked:\n  client st-anna of federation north, serial "));
  EXPECT_THAT(advice_, HasSubstr("  signer st-anna of federation north, serial "));
  EXPECT_THAT(advice_, HasSubstr("List number 1 has 2 certificates"));
  EXPECT_THAT(advice_, HasSubstr("fedtune-ca roster sign --dir"));
  for (const nlohmann::json& one : Listed())
    EXPECT_EQ(one.at("revoked_at"), "2027-01-15T08:00:00Z");
  const auto list = RevocationList::Load(list_, ca_ + "/ca.crt");
  ASSERT_THAT(list, IsOk());
  const Certificate certificate = *ParseCertificate(*ReadFile(certificate_));
  EXPECT_FALSE(list->CheckNotRevoked(certificate.identity, certificate.serial).ok());
  clock_.Advance(absl::Hours(2));
  ASSERT_EQ(Run({"list", "--dir", ca_}), 0);
  EXPECT_THAT(result_, HasSubstr("revoked 2027-01-15 (2 h ago)"));
}

TEST_F(RevokingTest, RevokesTheFileThatIsNamedAndOneSerial) {
  ASSERT_EQ(Revoke({"--certificate", certificate_}), 0);
  EXPECT_EQ(ShownList().at("revoked").size(), 2);
  fs::remove(certificate_);
  ASSERT_EQ(Run({"request", "--federation", "north", "--role", "client", "--name", "uke", "--dir",
                 keys_ + "2"}),
            0);
  ASSERT_EQ(Run({"issue", "--dir", ca_, "--request", keys_ + "2/request.pem", "--role", "client",
                 "--name", "uke", "--out", certificate_}),
            0);
  std::string serial = Listed()[2].at("serial");
  std::string other_form;  // As other programs write it.
  for (size_t i = 0; i < serial.size(); i += 2) {
    other_form += (i == 0 ? "" : ":") + serial.substr(i, 2);
  }
  for (char& c : other_form) c = static_cast<char>(std::toupper(c));
  ASSERT_EQ(Revoke({"--serial", other_form}), 0);
  EXPECT_THAT(advice_, HasSubstr("Not revoked, and of the same member:\n  signer uke"));
  EXPECT_EQ(ShownList().at("number"), 2);
  EXPECT_EQ(ShownList().at("revoked").size(), 3);
}

TEST_F(RevokingTest, TheSecondTimeNothingIsDone) {
  ASSERT_EQ(Revoke({"--role", "client", "--name", "st-anna"}), 0);
  const std::string list = *ReadFile(list_);
  clock_.Advance(absl::Hours(1));
  for (const auto& how : {std::vector<std::string>{"--role", "client", "--name", "st-anna"},
                          std::vector<std::string>{"--certificate", certificate_}}) {
    ASSERT_EQ(Revoke(how), 0);
    EXPECT_THAT(advice_, HasSubstr("Were revoked before:\n"));
    EXPECT_THAT(advice_, Not(HasSubstr("Revoked:\n")));
    EXPECT_EQ(*ReadFile(list_), list);
  }
  EXPECT_EQ(Listed()[0].at("revoked_at"), "2027-01-15T08:00:00Z");
}

// As after a crash between the record and the file.
TEST_F(RevokingTest, PutsTheListInPlaceThatIsNotThere) {
  ASSERT_EQ(Revoke({"--role", "client", "--name", "st-anna"}), 0);
  const std::string list = *ReadFile(list_);
  fs::remove(list_);
  ASSERT_EQ(Revoke({"--role", "client", "--name", "st-anna"}), 0);
  EXPECT_EQ(*ReadFile(list_), list);
  ASSERT_THAT(WriteFileAtomically(list_, "a letter"), IsOk());
  ASSERT_EQ(Run({"crl", "--dir", ca_}), 0);
  EXPECT_EQ(*ReadFile(list_), list);
}

TEST_F(RevokingTest, WritesAListBeforeAnythingIsRevoked) {
  const std::string list = directory_.path() / "empty.crl";
  ASSERT_EQ(Run({"crl", "--dir", ca_, "--out", list}), 0);
  EXPECT_EQ(result_, list + "\n");
  ASSERT_EQ(Run({"crl", "--dir", ca_, "--out", list}), 0);
  EXPECT_THAT(advice_, HasSubstr("List number 1 has 0 certificates"));
  ASSERT_EQ(Run({"show", list}), 0);
  EXPECT_THAT(result_, HasSubstr("list of revoked certificates\n"));
  ASSERT_EQ(Revoke({"--role", "signer", "--name", "st-anna"}), 0);
  EXPECT_EQ(ShownList().at("number"), 2);
}

TEST_F(RevokingTest, ASignerAloneCanBeRevokedAndLeavesTheRoster) {
  ASSERT_EQ(Run({"roster", "sign", "--dir", ca_}), 0);
  ASSERT_EQ(Revoke({"--role", "signer", "--name", "st-anna"}), 0);
  EXPECT_THAT(advice_, HasSubstr("Not revoked, and of the same member:\n  client st-anna"));
  EXPECT_EQ(Listed()[0].at("revoked_at"), nullptr);
  EXPECT_EQ(Run({"roster", "sign", "--dir", ca_}), 1);
  EXPECT_THAT(advice_, HasSubstr("no institution has a valid signing certificate"));
}

TEST_F(RevokingTest, CertifiesNoRevokedKeyAgain) {
  ASSERT_EQ(Revoke({"--role", "client", "--name", "st-anna"}), 0);
  fs::remove(certificate_);
  EXPECT_EQ(IssueTo("client", "st-anna"), 1);
  EXPECT_THAT(advice_, HasSubstr("the request is for a key whose certificate "));
  EXPECT_THAT(advice_, HasSubstr("st-anna makes another key"));
  ASSERT_EQ(Run({"request", "--federation", "north", "--role", "client", "--name", "st-anna",
                 "--dir", keys_ + "2"}),
            0);
  EXPECT_EQ(Run({"issue", "--dir", ca_, "--request", keys_ + "2/request.pem", "--role", "client",
                 "--name", "st-anna", "--out", certificate_}),
            0);
}

// A renewal asks with the same request.pem.
TEST_F(RevokingTest, CertifiesNoRevokedKeyAgainWhoseCertificatesHadExpired) {
  clock_.Advance(absl::Hours(24 * 100));
  ASSERT_EQ(Revoke({"--role", "client", "--name", "st-anna"}), 0);
  EXPECT_EQ(ShownList().at("revoked").size(), 2);
  fs::remove(certificate_);
  EXPECT_EQ(IssueTo("client", "st-anna"), 1);
  EXPECT_THAT(advice_, HasSubstr("the request is for a key whose certificate "));
}

TEST_F(RevokingTest, RefusesWhatIsUnknownByItsName) {
  EXPECT_EQ(Revoke({"--serial", "0123456789"}), 1);
  EXPECT_THAT(advice_, HasSubstr("no certificate with the serial 0123456789 is on the record"));
  EXPECT_EQ(Revoke({"--role", "client", "--name", "uke"}), 1);
  EXPECT_THAT(advice_, HasSubstr("client uke of federation north was never issued a certificate"));
  EXPECT_EQ(Revoke({"--role", "administrator", "--name", "st-anna"}), 1);
  EXPECT_EQ(Revoke({"--role", "boss", "--name", "st-anna"}), 2);
  EXPECT_EQ(Revoke({"--serial", "st-anna"}), 2);
  EXPECT_EQ(Revoke({"--certificate", ca_ + "/ca.crt"}), 2);
  EXPECT_FALSE(fs::exists(list_));
}

TEST_F(RevokingTest, RefusesTwoWaysAtOnceAndHalfAName) {
  EXPECT_EQ(Revoke({}), 2);
  EXPECT_EQ(Revoke({"--name", "st-anna"}), 2);
  EXPECT_EQ(Revoke({"--role", "client"}), 2);
  EXPECT_EQ(Revoke({"--role", "client", "--name", "st-anna", "--serial", "0a"}), 2);
  EXPECT_THAT(advice_, HasSubstr("in one way"));
  EXPECT_EQ(Revoke({"--role", "client", "--name", "st-anna", "--out",
                    std::string(directory_.path() / "nowhere" / "revoked.crl")}),
            2);
  for (const nlohmann::json& one : Listed()) EXPECT_EQ(one.at("revoked_at"), nullptr);
}

TEST_F(RevokingTest, SaysThatItIsRevokedWhereTheListCannotBeWritten) {
  const std::string taken = directory_.path() / "taken.crl";
  fs::create_directory(taken);
  EXPECT_EQ(Revoke({"--role", "client", "--name", "st-anna", "--out", taken}), 2);
  EXPECT_THAT(advice_, HasSubstr("what was named is revoked, but its list is not in place; write "
                                 "it with: fedtune-ca crl --dir " +
                                 ca_ + ": "));
  ASSERT_EQ(Run({"crl", "--dir", ca_}), 0);
  EXPECT_EQ(ShownList().at("revoked").size(), 2);
}

TEST_F(RevokingTest, RevokesNothingWhereTheListsFolderCannotBeWritten) {
  const fs::path closed = directory_.path() / "closed";
  fs::create_directory(closed);
  fs::permissions(closed, fs::perms::owner_read | fs::perms::owner_exec);
  if (::access(closed.c_str(), W_OK) == 0) GTEST_SKIP() << "root writes everywhere";
  EXPECT_EQ(Revoke({"--role", "client", "--name", "st-anna", "--out", closed / "revoked.crl"}), 1);
  EXPECT_THAT(advice_, HasSubstr("write into " + closed.string()));
  for (const nlohmann::json& one : Listed()) EXPECT_EQ(one.at("revoked_at"), nullptr);
}

// An older copy of the folder was put back, and St. Anna's file shows whose it is.
TEST_F(RevokingTest, RevokesWhatIsOnlyInTheMembersFile) {
  absl::StatusOr<SqliteDatabase> record = SqliteDatabase::Open(ca_ + "/issued.db");
  ASSERT_THAT(record->Execute("DELETE FROM issued"), IsOk());
  ASSERT_EQ(Revoke({"--certificate", certificate_}), 0);
  EXPECT_EQ(Listed().size(), 2);
  EXPECT_EQ(ShownList().at("revoked").size(), 2);
}

TEST_F(RevokingTest, RefusesTheFileOfAnotherAuthority) {
  ASSERT_EQ(Run({"init", "--federation", "north", "--dir", ca_ + "2"}), 0);
  EXPECT_EQ(Run({"revoke", "--dir", ca_ + "2", "--certificate", certificate_}), 3);
  EXPECT_THAT(advice_, HasSubstr("certificate of another authority"));
}

TEST_F(RevokingTest, NobodyIsRemindedToRenewWhatIsRevoked) {
  ASSERT_EQ(Run({"request", "--federation", "north", "--role", "client", "--name", "uke", "--dir",
                 keys_ + "2"}),
            0);
  clock_.Advance(absl::Hours(24 * 70));
  ASSERT_EQ(Run({"issue", "--dir", ca_, "--request", keys_ + "2/request.pem", "--role", "client",
                 "--name", "uke", "--out", certificate_ + "2"}),
            0);
  ASSERT_EQ(Revoke({"--role", "client", "--name", "st-anna"}), 0);
  ASSERT_EQ(Run({"roster", "sign", "--dir", ca_}), 0);
  EXPECT_THAT(advice_, Not(HasSubstr("warning")));
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
