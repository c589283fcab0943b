// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/revocation_list.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <functional>
#include <memory>
#include <string>

#include "base/files.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/identity/certificate_authority.h"
#include "privacy/identity/pem.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::TemporaryDirectory;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);
constexpr absl::Duration kYear = absl::Hours(24 * 365);
const Identity kStAnna = {.federation = "north", .role = Role::kClient, .name = "st-anna"};

// Of an authority in the north that has revoked two certificates.
class RevocationListTest : public ::testing::Test {
 protected:
  // What the authority signs if its program does what it never does.
  std::string Forge(const std::function<void(X509_CRL*)>& change) const {
    const auto bio = ReadPemFrom(pem_);
    X509_CRL* const list = PEM_read_bio_X509_CRL(bio->get(), nullptr, nullptr, nullptr);
    change(list);
    X509_CRL_sign(list, authority_.key().get(), EVP_sha256());
    std::string pem = ToPem(list);
    X509_CRL_free(list);
    return pem;
  }

  static void AddExtension(int kind, const char* value, X509_CRL* list) {
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value);
    X509_CRL_add_ext(list, extension, -1);
    X509_EXTENSION_free(extension);
  }

  absl::StatusOr<RevocationList> Verify(std::string_view pem) const {
    return RevocationList::Verify(pem, authority_.ToPem());
  }

  absl::StatusOr<RevocationList> Numbered(uint64_t number) const {
    return Verify(authority_.SignRevocations({.number = number, .signed_at = kNow, .revoked = {}}));
  }

  const CertificateAuthority authority_ = *CertificateAuthority::Create("north", kYear, kNow);
  const RevocationContent content_ = {
      .number = 7,
      .signed_at = kNow,
      .revoked = {{"0a", kNow - absl::Hours(1)},
                  {"f00ba400000000000000000000000001", kNow - absl::Minutes(5)}}};
  const std::string pem_ = authority_.SignRevocations(content_);
};

TEST_F(RevocationListTest, ReadsBackWhatTheAuthorityHasSigned) {
  const absl::StatusOr<RevocationContent> read = ParseRevocationList(pem_);
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->number, 7);
  EXPECT_EQ(read->signed_at, kNow);
  EXPECT_EQ(read->revoked, content_.revoked);
}

TEST_F(RevocationListTest, RefusesWhoIsOnItAndNobodyElse) {
  const absl::StatusOr<RevocationList> list = Verify(pem_);
  ASSERT_THAT(list, IsOk());
  EXPECT_EQ(list->size(), 2);
  EXPECT_THAT(list->CheckNotRevoked(kStAnna, "0b"), IsOk());
  const absl::Status refused = list->CheckNotRevoked(kStAnna, "f00ba400000000000000000000000001");
  EXPECT_THAT(refused, HasCode(absl::StatusCode::kUnauthenticated));
  EXPECT_THAT(std::string(Message(refused)),
              HasSubstr("the certificate of client st-anna of federation north (serial "
                        "f00ba400000000000000000000000001) was revoked on 2027-01-15 07:55 UTC"));
}

TEST_F(RevocationListTest, KnowsTheSerialThatACertificateHas) {
  const auto request =
      CertificateRequest::Parse(*MakeCertificateRequest(PrivateKey::Generate(), kStAnna));
  const auto pem = authority_.Issue(
      *request, {.identity = kStAnna, .hosts = {}, .valid_for = absl::Hours(24)}, kNow);
  const Certificate certificate = *ParseCertificate(*pem);
  const auto list = Verify(authority_.SignRevocations(
      {.number = 1, .signed_at = kNow, .revoked = {{certificate.serial, kNow}}}));
  EXPECT_THAT(list->CheckNotRevoked(kStAnna, certificate.serial),
              HasCode(absl::StatusCode::kUnauthenticated));
}

TEST_F(RevocationListTest, AnEmptyListRefusesNobody) {
  const auto list = Numbered(1);
  ASSERT_THAT(list, IsOk());
  EXPECT_EQ(list->size(), 0);
  EXPECT_THAT(list->CheckNotRevoked(kStAnna, "0a"), IsOk());
  EXPECT_EQ(Describe(*list), "number 1 of 2027-01-15 08:00 UTC, 0 certificates");
}

TEST_F(RevocationListTest, RefusesAListOfAnotherAuthorityOfTheSameName) {
  const auto other = CertificateAuthority::Create("north", kYear, kNow);
  const absl::Status status = Verify(other->SignRevocations(content_)).status();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kUnauthenticated));
  EXPECT_THAT(std::string(Message(status)),
              HasSubstr("not signed by the authority of federation north"));
}

TEST_F(RevocationListTest, RefusesAListInWhichOneBitIsAnother) {
  for (size_t at = pem_.find("\n") + 40; at < pem_.size() - 60; at += 7) {
    std::string changed = pem_;
    changed[at] = changed[at] == 'A' ? 'B' : 'A';
    if (changed == pem_) continue;
    EXPECT_FALSE(Verify(changed).ok()) << at;
  }
}

TEST_F(RevocationListTest, RefusesWhatIsOnlyAPartOfAList) {
  const std::pair<int, const char*> parts[] = {
      {NID_delta_crl, "critical,DER:02:01:01"},
      {NID_issuing_distribution_point, "critical,onlyuser:TRUE"}};
  for (const auto& part : parts) {
    const std::string forged =
        Forge([&](X509_CRL* list) { AddExtension(part.first, part.second, list); });
    EXPECT_THAT(Verify(forged), HasCode(absl::StatusCode::kInvalidArgument)) << part.second;
  }
}

TEST_F(RevocationListTest, RefusesAListWithoutANumberOrOfVersion1) {
  const std::string unnumbered = Forge([](X509_CRL* list) {
    X509_EXTENSION_free(
        X509_CRL_delete_ext(list, X509_CRL_get_ext_by_NID(list, NID_crl_number, -1)));
  });
  EXPECT_THAT(Verify(unnumbered), HasCode(absl::StatusCode::kInvalidArgument));
  const std::string old = Forge([](X509_CRL* list) { X509_CRL_set_version(list, 0); });
  EXPECT_THAT(Verify(old), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(RevocationListTest, RefusesAnEntryThatMeansSomethingElse) {
  const std::string forged = Forge([](X509_CRL* list) {
    X509_EXTENSION* const extension =
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_crl_reason, "critical,DER:0A:01:08");
    ASSERT_NE(extension, nullptr);
    X509_REVOKED_add_ext(sk_X509_REVOKED_value(X509_CRL_get_REVOKED(list), 0), extension, -1);
    X509_EXTENSION_free(extension);
  });
  EXPECT_THAT(Verify(forged), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(RevocationListTest, RefusesNoneTwoAndOtherFilesAndLeavesNoErrorBehind) {
  for (const std::string& text :
       {std::string(), std::string("a letter"), pem_ + pem_, authority_.ToPem(),
        pem_.substr(0, pem_.size() / 2), std::string(kLongestRevocationList + 1, 'x')}) {
    EXPECT_THAT(Verify(text), HasCode(absl::StatusCode::kInvalidArgument)) << text.substr(0, 50);
    EXPECT_EQ(ERR_peek_error(), 0) << text.substr(0, 50);
  }
}

TEST_F(RevocationListTest, IsFollowedByANewerOneOrItselfOnly) {
  const auto seventh = Verify(pem_);
  EXPECT_THAT(Numbered(8)->CheckFollows(*seventh), IsOk());
  EXPECT_THAT(Verify(pem_)->CheckFollows(*seventh), IsOk());
  EXPECT_THAT(Numbered(6)->CheckFollows(*seventh), HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Numbered(7)->CheckFollows(*seventh), HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST_F(RevocationListTest, NamesTheFileThatIsWrong) {
  const TemporaryDirectory directory;
  const std::filesystem::path file = directory.path() / "revoked.crl";
  const std::filesystem::path authority = directory.path() / "authority.pem";
  ASSERT_THAT(WriteFileAtomically(authority, authority_.ToPem()), IsOk());
  const absl::Status missing = RevocationList::Load(file, authority).status();
  EXPECT_THAT(missing, HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(std::string(Message(missing)), HasSubstr(file.string()));
  ASSERT_THAT(WriteFileAtomically(file, std::string(kLongestRevocationList + 1, 'x')), IsOk());
  const absl::Status huge = RevocationList::Load(file, authority).status();
  EXPECT_THAT(huge, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(Message(huge)), HasSubstr(file.string()));
  ASSERT_THAT(WriteFileAtomically(file, pem_), IsOk());
  EXPECT_THAT(RevocationList::Load(file, authority), IsOk());
}

}  // namespace
}  // namespace fedtune
