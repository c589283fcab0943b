// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/private_key.h"

#include <filesystem>
#include <string>

#include "base/files.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/identity/public_key.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

namespace fs = std::filesystem;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::TemporaryDirectory;

// Made with: openssl ecparam -name secp384r1 -genkey -noout. A key of no use.
constexpr char kOnP384[] = R"(-----BEGIN EC PRIVATE KEY-----
MIGkAgEBBDAe/b/EKn916Hyc5woqIQukiATVAeIPf67neAXuXUUfKZqvyTOzM0Pi
QUaxnFC36y6gBwYFK4EEACKhZANiAAT7as17vSIShXZ+kO9wmwNKEiH/k9nQeKN6
o5nAjbklQE4T4tR8EWcB9PgvY7Ec6nRIe0Rgr3SgrgNDVnbTH/6HvIx2TVG/ZRsN
1AtXddfTKoXgyYVlmX5oP3QkaE/lY7s=
-----END EC PRIVATE KEY-----
)";

// A P-256 key of no use, its private part made greater by one.
constexpr char kScalarOfAnother[] = R"(-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIMQsMmvzD0y3Oo1TbWIH0lkM5vVykiO6WtlWuRcl3oVuoAoGCCqGSM49
AwEHoUQDQgAEoBMwqUs5r5NtT4Ec3qMjN4/JJhq5DsO0r4oeSDCI/AEYyD3356Sm
BD7RanCVONDHoYal3jRmL4dBP2zk1N/vsA==
-----END EC PRIVATE KEY-----
)";

class PrivateKeyTest : public ::testing::Test {
 protected:
  // Writes `content` to a file with these permissions and loads it.
  absl::Status LoadStatus(const std::string& content, fs::perms permissions) {
    EXPECT_THAT(WriteFileAtomically(path_, content), IsOk());
    fs::permissions(path_, permissions);
    return PrivateKey::Load(path_).status();
  }

  static constexpr fs::perms kPrivate = fs::perms::owner_read | fs::perms::owner_write;

  const TemporaryDirectory directory_;
  const fs::path path_ = directory_.path() / "key.pem";
  const PrivateKey key_ = PrivateKey::Generate();
  const std::string pem_ = std::string(key_.ToPem().RevealText());
};

TEST_F(PrivateKeyTest, LoadsWhatWasSaved) {
  ASSERT_THAT(key_.SaveNew(path_), IsOk());
  const absl::StatusOr<PrivateKey> loaded = PrivateKey::Load(path_);
  ASSERT_THAT(loaded, IsOk());
  EXPECT_EQ(KeyFingerprint(loaded->get()), KeyFingerprint(key_.get()));
}

TEST_F(PrivateKeyTest, IsSavedForItsOwnerOnly) {
  ASSERT_THAT(key_.SaveNew(path_), IsOk());
  EXPECT_EQ(fs::status(path_).permissions(), kPrivate);
}

TEST_F(PrivateKeyTest, NeverOverwritesAFile) {
  ASSERT_THAT(WriteFileAtomically(path_, "older"), IsOk());
  EXPECT_THAT(key_.SaveNew(path_), HasCode(absl::StatusCode::kAlreadyExists));
  EXPECT_EQ(*ReadFile(path_), "older");
}

TEST_F(PrivateKeyTest, TwoKeysDiffer) {
  EXPECT_NE(KeyFingerprint(PrivateKey::Generate().get()), KeyFingerprint(key_.get()));
}

TEST_F(PrivateKeyTest, RefusesAFileThatOthersCanRead) {
  for (const fs::perms others : {fs::perms::others_read, fs::perms::group_read}) {
    const absl::Status status = LoadStatus(pem_, kPrivate | others);
    EXPECT_THAT(status, HasCode(absl::StatusCode::kPermissionDenied));
    EXPECT_THAT(std::string(Message(status)), HasSubstr("run: chmod 600 " + path_.string()));
  }
}

TEST_F(PrivateKeyTest, RefusesAMissingFile) {
  EXPECT_THAT(PrivateKey::Load(path_), HasCode(absl::StatusCode::kNotFound));
}

TEST_F(PrivateKeyTest, RefusesAPipeWithoutWaitingForWhoWritesIntoIt) {
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  const absl::Status status = PrivateKey::Load(path_).status();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(Message(status)), HasSubstr("it is a pipe or a device"));
}

TEST_F(PrivateKeyTest, RefusesAFolder) {
  fs::create_directory(path_);
  fs::permissions(path_, fs::perms::owner_all);
  EXPECT_THAT(std::string(Message(PrivateKey::Load(path_).status())), HasSubstr("Is a directory"));
}

TEST_F(PrivateKeyTest, RefusesWhatIsNoKeyAndNamesTheFile) {
  const absl::Status status = LoadStatus("a letter", kPrivate);
  EXPECT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(Message(status)), HasSubstr(path_.string() + ": no private key"));
}

TEST_F(PrivateKeyTest, RefusesAnEmptyFile) {
  EXPECT_THAT(LoadStatus("", kPrivate), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(PrivateKeyTest, RefusesHalfAKey) {
  EXPECT_THAT(LoadStatus(pem_.substr(0, pem_.size() / 2), kPrivate),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(PrivateKeyTest, RefusesAHugeFile) {
  EXPECT_THAT(LoadStatus(std::string(1 << 20, 'x'), kPrivate),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(PrivateKeyTest, RefusesAnotherCurve) {
  const absl::Status status = LoadStatus(kOnP384, kPrivate);
  EXPECT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(Message(status)), HasSubstr("P-256"));
}

TEST_F(PrivateKeyTest, RefusesAPrivatePartThatIsNotItsPublicPartsOwn) {
  const absl::Status status = LoadStatus(kScalarOfAnother, kPrivate);
  EXPECT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(Message(status)), HasSubstr("damaged"));
}

TEST_F(PrivateKeyTest, RefusesAPassphraseInsteadOfAskingForIt) {
  const absl::Status status = LoadStatus(
      "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGbMFcGCSqGSIb3DQEFDTBK\n"
      "-----END ENCRYPTED PRIVATE KEY-----\n",
      kPrivate);
  EXPECT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(Message(status)), HasSubstr("passphrase"));
}

}  // namespace
}  // namespace fedtune
