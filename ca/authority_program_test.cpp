// SPDX-License-Identifier: Apache-2.0

#include "ca/authority_program.h"

#include <filesystem>
#include <initializer_list>
#include <string>
#include <vector>

#include "base/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

namespace fs = std::filesystem;
using testing::FakeClock;
using ::testing::HasSubstr;
using testing::IsOk;
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

  int Run(std::initializer_list<std::string> words) {
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

  FakeClock clock_;
  const TemporaryDirectory directory_;
  const std::string ca_ = directory_.path() / "ca";
  const std::string keys_ = directory_.path() / "keys";
  const std::string certificate_ = directory_.path() / "st-anna.crt";
  std::string result_;  // What the last command wrote to stdout.
  std::string advice_;  // And to stderr.
};

TEST_F(AuthorityProgramTest, IssuesListsAndShows) {
  ASSERT_EQ(IssueTo("client", "st-anna"), 0);
  EXPECT_EQ(result_, certificate_ + "\n");
  EXPECT_THAT(advice_, HasSubstr("Issued to client st-anna of federation north until 2027-04-15"));

  ASSERT_EQ(Run({"list", "--dir", ca_}), 0);
  EXPECT_THAT(result_, HasSubstr("st-anna  client         2027-01-15  2027-04-15 (in 90 days)"));
  ASSERT_EQ(Run({"show", certificate_}), 0);
  EXPECT_THAT(result_, HasSubstr("certificate of client st-anna of federation north\n"));
}

TEST_F(AuthorityProgramTest, SpeaksJson) {
  ASSERT_EQ(IssueTo("client", "st-anna"), 0);
  ASSERT_EQ(Run({"list", "--dir", ca_, "--json"}), 0);
  const auto listed = nlohmann::json::parse(result_);
  EXPECT_EQ(listed.at("name"), "st-anna");
  EXPECT_EQ(listed.at("issued_at"), "2027-01-15T08:00:00Z");

  ASSERT_EQ(Run({"show", certificate_, "--json"}), 0);
  const auto shown = nlohmann::json::parse(result_);
  EXPECT_EQ(shown.at("kind"), "certificate");
  EXPECT_EQ(shown.at("serial"), listed.at("serial"));
  EXPECT_EQ(shown.at("expired"), false);

  ASSERT_EQ(Run({"show", keys_ + "/request.pem", "--json"}), 0);
  const auto request = nlohmann::json::parse(result_);
  EXPECT_EQ(request.at("kind"), "request");
  EXPECT_EQ(request.at("key_fingerprint"), shown.at("key_fingerprint"));

  ASSERT_EQ(Run({"show", ca_ + "/ca.crt", "--json"}), 0);
  EXPECT_EQ(nlohmann::json::parse(result_).at("kind"), "authority");
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
