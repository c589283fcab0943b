// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/key_directory.h"

#include <filesystem>
#include <string>

#include "base/files.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/identity/certificate_authority.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

namespace fs = std::filesystem;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::TemporaryDirectory;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);
const Identity kStAnna = {.federation = "north", .role = Role::kClient, .name = "st-anna"};

// A folder with St. Anna's key, certificate and authority.
class KeyDirectoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_THAT(MakeKeyAndRequest(path_, kStAnna), IsOk());
    ASSERT_THAT(WriteFileAtomically(files_.certificate, Certify(kStAnna)), IsOk());
    ASSERT_THAT(WriteFileAtomically(files_.authority, authority_.ToPem()), IsOk());
  }

  // Issues for the request that lies in the folder.
  std::string Certify(const Identity& identity) {
    const auto request = CertificateRequest::Parse(*ReadFile(path_ / "request.pem"));
    EXPECT_THAT(request, IsOk());
    return *authority_.Issue(
        *request, {.identity = identity, .hosts = {}, .valid_for = absl::Hours(24)}, kNow);
  }

  // The message with which the folder is refused.
  std::string Refusal(absl::StatusCode code) {
    const absl::Status status = LoadCredentials(files_, Role::kClient, kNow).status();
    EXPECT_THAT(status, HasCode(code));
    return std::string(Message(status));
  }

  const TemporaryDirectory directory_;
  const fs::path path_ = directory_.path() / "state" / "keys";
  const CredentialFiles files_ = FilesIn(path_);
  const CertificateAuthority authority_ =
      *CertificateAuthority::Create("north", absl::Hours(24 * 365), kNow);
};

TEST_F(KeyDirectoryTest, LoadsWhatBelongsTogether) {
  const absl::StatusOr<Credentials> credentials = LoadCredentials(files_, Role::kClient, kNow);
  ASSERT_THAT(credentials, IsOk());
  EXPECT_EQ(credentials->certificate.identity, kStAnna);
  EXPECT_EQ(credentials->key_pem.RevealText(), *ReadFile(files_.key));
  EXPECT_EQ(credentials->authority_pem, authority_.ToPem());
}

TEST_F(KeyDirectoryTest, NeverOverwritesAKey) {
  const std::string key = *ReadFile(files_.key);
  const std::string request = *ReadFile(path_ / "request.pem");
  EXPECT_THAT(MakeKeyAndRequest(path_, kStAnna), HasCode(absl::StatusCode::kAlreadyExists));
  EXPECT_EQ(*ReadFile(files_.key), key);
  EXPECT_EQ(*ReadFile(path_ / "request.pem"), request);
}

TEST_F(KeyDirectoryTest, SaysWhatToDoWithTheRequest) {
  const auto made = MakeKeyAndRequest(directory_.path() / "other", kStAnna);
  ASSERT_THAT(made, IsOk());
  EXPECT_THAT(made->next_step, HasSubstr("custodian of federation north"));
  EXPECT_THAT(made->next_step, HasSubstr("--role client --name st-anna"));
  EXPECT_THAT(made->next_step, HasSubstr("sha256:"));
}

TEST_F(KeyDirectoryTest, MakesNothingForAWrongName) {
  EXPECT_THAT(MakeKeyAndRequest(directory_.path() / "other", {.federation = "north", .name = ""}),
              HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_FALSE(fs::exists(directory_.path() / "other"));
}

TEST_F(KeyDirectoryTest, SaysThatAKeyIsMissing) {
  fs::remove(files_.key);
  EXPECT_THAT(Refusal(absl::StatusCode::kNotFound), HasSubstr("make one with the command"));
}

TEST_F(KeyDirectoryTest, SaysWhoSendsAMissingCertificate) {
  fs::remove(files_.certificate);
  EXPECT_THAT(Refusal(absl::StatusCode::kNotFound), HasSubstr("certificate.pem is missing; the "));
}

TEST_F(KeyDirectoryTest, SaysThatTheAuthorityIsMissing) {
  fs::remove(files_.authority);
  EXPECT_THAT(Refusal(absl::StatusCode::kNotFound), HasSubstr("authority.pem is missing"));
}

TEST_F(KeyDirectoryTest, RefusesACertificateForAnotherKey) {
  fs::remove(files_.key);
  ASSERT_THAT(PrivateKey::Generate().SaveNew(files_.key), IsOk());
  EXPECT_THAT(Refusal(absl::StatusCode::kInvalidArgument), HasSubstr("is for another key than"));
}

TEST_F(KeyDirectoryTest, RefusesAnotherRoleAndNamesTheFile) {
  const absl::Status status = LoadCredentials(files_, Role::kAdministrator, kNow).status();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(std::string(Message(status)), HasSubstr("certificate.pem: the certificate is for"));
}

TEST_F(KeyDirectoryTest, RefusesADamagedAuthorityAndNamesTheFile) {
  ASSERT_THAT(WriteFileAtomically(files_.authority, "a letter"), IsOk());
  EXPECT_THAT(Refusal(absl::StatusCode::kInvalidArgument), HasSubstr("authority.pem: "));
}

TEST_F(KeyDirectoryTest, RefusesAKeyThatOthersCanRead) {
  fs::permissions(files_.key, fs::perms::others_read, fs::perm_options::add);
  EXPECT_THAT(Refusal(absl::StatusCode::kPermissionDenied), HasSubstr("chmod 600"));
}

}  // namespace
}  // namespace fedtune
