// SPDX-License-Identifier: Apache-2.0

#include <unistd.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/sqlite/sqlite.h"
#include "ca/authority_program.h"
#include "gmock/gmock.h"
#include "privacy/identity/certificate.h"
#include "privacy/identity/revocation_list.h"
#include "tests/support/authority_fixture.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::IsOk;
using ::testing::Not;

// St. Anna has its certificates, and its laptop is stolen.
class RevokingTest : public testing::AuthorityFixture {
 protected:
  void SetUp() override {
    testing::AuthorityFixture::SetUp();
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
}  // namespace
}  // namespace fedtune
