// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/key_directory.h"

#include <filesystem>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/identity/certificate_authority.h"
#include "privacy/identity/forged_certificate.h"
#include "privacy/identity/pem.h"
#include "privacy/identity/public_key.h"
#include "privacy/identity/x509_chain.h"
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

  // Issues for the requests that lie in the folder.
  std::string Certify(Identity identity) {
    std::string bundle;
    const std::string requests = *ReadFile(path_ / "request.pem");
    for (const std::string_view block : SplitPem(requests)) {
      const auto request = CertificateRequest::Parse(block);
      EXPECT_THAT(request, IsOk());
      identity.role = request->identity().role;
      bundle += *authority_.Issue(
          *request, {.identity = identity, .hosts = {}, .valid_for = absl::Hours(24)}, kNow);
    }
    return bundle;
  }

  // The message with which the folder is refused.
  std::string Refusal(absl::StatusCode code) {
    const absl::Status status = LoadCredentials(files_, Role::kClient, kNow).status();
    EXPECT_THAT(status, HasCode(code));
    return std::string(Message(status));
  }

  // The message with which the signer's part of the folder is refused.
  std::string SignerRefusal(absl::StatusCode code, absl::Time now = kNow) {
    const absl::Status status = LoadSigningCredentials(files_, now).status();
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

TEST_F(KeyDirectoryTest, SaysWhatToDoWithAKeyWhoseMakingWasCutOff) {
  fs::remove(path_ / "request.pem");
  const absl::Status certified = MakeKeyAndRequest(path_, kStAnna).status();
  EXPECT_THAT(std::string(Message(certified)), HasSubstr("a key is never overwritten"));
  fs::remove(files_.certificate);
  const absl::Status cut_off = MakeKeyAndRequest(path_, kStAnna).status();
  EXPECT_THAT(cut_off, HasCode(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(std::string(Message(cut_off)), HasSubstr("was its making cut off?"));
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
  EXPECT_THAT(Refusal(absl::StatusCode::kNotFound),
              HasSubstr("make one with \"fedtune-ca request --role client\""));
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

TEST_F(KeyDirectoryTest, LoadsTheSigningKeyOfAClient) {
  const auto signer = LoadSigningCredentials(files_, kNow);
  ASSERT_THAT(signer, IsOk());
  EXPECT_EQ(signer->key.suite(), CipherSuite::kCurve25519);
  EXPECT_EQ(signer->certificate.identity.role, Role::kSigner);
  EXPECT_EQ(signer->certificate.identity.name, "st-anna");
  EXPECT_EQ(ReadVerifyingKey(signer->certificate_pem)->bytes, signer->key.public_key());
}

TEST_F(KeyDirectoryTest, MakesOnlyASigningKeyForASigner) {
  const fs::path other = directory_.path() / "other";
  const Identity signer = {.federation = "north", .role = Role::kSigner, .name = "st-anna"};
  ASSERT_THAT(MakeKeyAndRequest(other, signer, CipherSuite::kNistP256), IsOk());
  EXPECT_FALSE(fs::exists(other / "key.pem"));
  EXPECT_TRUE(fs::exists(other / "signing_key.pem"));
}

TEST_F(KeyDirectoryTest, LeavesNoHalfWhenThereIsASigningKey) {
  fs::remove(files_.key);
  EXPECT_THAT(MakeKeyAndRequest(path_, kStAnna), HasCode(absl::StatusCode::kAlreadyExists));
  EXPECT_FALSE(fs::exists(files_.key));
}

TEST_F(KeyDirectoryTest, LeavesNoKeyWithoutItsRequest) {
  const fs::path path = directory_.path() / "new";
  ASSERT_THAT(MakeDirectories(path / "request.pem"), IsOk());
  EXPECT_FALSE(MakeKeyAndRequest(path, kStAnna).ok());
  EXPECT_FALSE(fs::exists(path / "key.pem"));
  EXPECT_FALSE(fs::exists(path / "signing_key.pem"));
}

TEST_F(KeyDirectoryTest, SaysHowToMakeAMissingSigningKey) {
  fs::remove(files_.signing_key);
  EXPECT_THAT(SignerRefusal(absl::StatusCode::kNotFound), HasSubstr("request --role signer"));
}

TEST_F(KeyDirectoryTest, ANewSigningKeyIsCertifiedWithTheKeyThatIsThere) {
  const std::string key = *ReadFile(files_.key);
  fs::remove(files_.signing_key);
  const Identity signer = {.federation = "north", .role = Role::kSigner, .name = "st-anna"};
  const auto made = MakeKeyAndRequest(path_, signer);
  ASSERT_THAT(made, IsOk());
  EXPECT_THAT(made->next_step, HasSubstr("--role client --name st-anna"));
  ASSERT_THAT(WriteFileAtomically(files_.certificate, Certify(kStAnna)), IsOk());
  EXPECT_EQ(*ReadFile(files_.key), key);
  EXPECT_THAT(LoadCredentials(files_, Role::kClient, kNow), IsOk());
  EXPECT_THAT(LoadSigningCredentials(files_, kNow), IsOk());
}

TEST_F(KeyDirectoryTest, SaysThatASignersCertificateIsRenewedWithItsClients) {
  EXPECT_THAT(SignerRefusal(absl::StatusCode::kUnauthenticated, kNow + absl::Hours(25)),
              HasSubstr("--request request.pem --role client --name st-anna"));
}

TEST_F(KeyDirectoryTest, SaysThatNoSignerWasCertified) {
  ASSERT_THAT(
      WriteFileAtomically(files_.certificate, *FindCertificate(Certify(kStAnna), Role::kClient)),
      IsOk());
  EXPECT_THAT(SignerRefusal(absl::StatusCode::kNotFound), HasSubstr("no certificate of a signer"));
}

TEST_F(KeyDirectoryTest, RefusesASignersCertificateForAnotherKey) {
  ASSERT_THAT(
      WriteFileAtomically(files_.signing_key,
                          SigningKey::Generate(CipherSuite::kCurve25519).ToPem().RevealText()),
      IsOk());
  fs::permissions(files_.signing_key, fs::perms::owner_read);
  EXPECT_THAT(SignerRefusal(absl::StatusCode::kInvalidArgument), HasSubstr("is for another key"));
}

TEST_F(KeyDirectoryTest, RefusesASigningKeyThatOthersCanRead) {
  fs::permissions(files_.signing_key, fs::perms::others_read, fs::perm_options::add);
  EXPECT_THAT(SignerRefusal(absl::StatusCode::kPermissionDenied), HasSubstr("chmod 600"));
}

TEST_F(KeyDirectoryTest, RefusesASigningKeyThatIsNone) {
  ASSERT_THAT(WriteFileAtomically(files_.signing_key, "a letter"), IsOk());
  fs::permissions(files_.signing_key, fs::perms::owner_read);
  EXPECT_THAT(SignerRefusal(absl::StatusCode::kInvalidArgument), HasSubstr("signing_key.pem: "));
}

TEST_F(KeyDirectoryTest, NeverTakesASignersCertificateForAConnection) {
  ASSERT_THAT(
      WriteFileAtomically(files_.certificate, *FindCertificate(Certify(kStAnna), Role::kSigner)),
      IsOk());
  Refusal(absl::StatusCode::kPermissionDenied);
}

TEST_F(KeyDirectoryTest, OpensslTakesNoSignersCertificateForAConnection) {
  const auto chain = *ReadChain(*FindCertificate(Certify(kStAnna), Role::kSigner));
  const auto issuer = *ReadChain(authority_.ToPem());
  for (const ChainUse use : {ChainUse::kCalling, ChainUse::kAnswering}) {
    EXPECT_EQ(
        VerifyChain(chain, {.authority = issuer.front().get(), .use = use, .now = kNow}).fault,
        ChainFault::kOther);
  }
}

TEST_F(KeyDirectoryTest, RefusesASignersCertificateThatIsGoodForConnections) {
  const SigningKey key = SigningKey::Generate(CipherSuite::kNistP256);
  testing::Forgery forgery = testing::SoundForgery("URI:fedtune://north/signer/st-anna", kNow);
  const std::string for_calling =
      testing::ForgeCertificate(forgery, key.get(), authority_.key(), authority_.ToPem());
  std::erase_if(forgery.extensions,
                [](const auto& one) { return std::string_view(one.first) == "extendedKeyUsage"; });
  const std::string for_all =
      testing::ForgeCertificate(forgery, key.get(), authority_.key(), authority_.ToPem());
  for (const std::string& pem : {for_calling, for_all}) {
    EXPECT_THAT(CheckCertificate(pem, authority_.ToPem(), Role::kSigner, kNow),
                HasCode(absl::StatusCode::kInvalidArgument));
  }
}

TEST_F(KeyDirectoryTest, RefusesASignersRequestForAKeyOfAnotherKind) {
  const auto key = testing::KeyOn("P-384");
  const testing::Forgery forgery = {
      .extensions = {{"subjectAltName", "URI:fedtune://north/signer/st-anna"}},
      .not_before = kNow,
      .not_after = kNow};
  const auto request =
      CertificateRequest::Parse(testing::ForgeRequest(forgery, key.get(), key.get()));
  EXPECT_THAT(request, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(Message(request.status())), HasSubstr("an Ed25519 or a P-256 key"));
}

}  // namespace
}  // namespace fedtune
