// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/pem.h"

#include <openssl/ui.h>

#include <string>

#include "base/check.h"
#include "base/status.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/private_key_pem.h"
#include "privacy/identity/certificate.h"
#include "privacy/identity/certificate_authority.h"
#include "privacy/identity/certificate_request.h"
#include "privacy/identity/revocation_list.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;

// A block whose head says that it is encrypted.
std::string Encrypted(std::string_view kind) {
  return fmt::format(
      "-----BEGIN {0}-----\nProc-Type: 4,ENCRYPTED\n"
      "DEK-Info: AES-256-CBC,000102030405060708090A0B0C0D0E0F\n\n"
      "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n-----END {0}-----\n",
      kind);
}

// Whoever sits at the terminal must not be asked for anything.
class EncryptedPemTest : public ::testing::Test {
 protected:
  EncryptedPemTest() {
    Check(terminal_ != nullptr, "there is memory");
    UI_method_set_opener(terminal_, [](UI*) {
      ADD_FAILURE() << "somebody is asked for a pass phrase";
      return 0;
    });
    UI_set_default_method(terminal_);
  }

  ~EncryptedPemTest() override {
    UI_set_default_method(before_);
    UI_destroy_method(terminal_);
  }

  const UI_METHOD* const before_ = UI_get_default_method();
  UI_METHOD* const terminal_ = UI_create_method("a terminal");
  const absl::Time now_ = absl::FromUnixSeconds(1'800'000'000);
  const CertificateAuthority authority_ =
      *CertificateAuthority::Create("north", absl::Hours(24), now_);
};

TEST_F(EncryptedPemTest, ARequestIsRefused) {
  EXPECT_THAT(CertificateRequest::Parse(Encrypted("CERTIFICATE REQUEST")),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(EncryptedPemTest, ACertificateIsRefusedAloneAndInAChain) {
  const std::string block = Encrypted("CERTIFICATE");
  EXPECT_THAT(ParseCertificate(block), HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ParseAuthorityCertificate(std::string(authority_.ToPem()) + block),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(EncryptedPemTest, AListIsRefusedAloneAndBehindAnother) {
  const std::string block = Encrypted("X509 CRL");
  EXPECT_THAT(ParseRevocationList(block), HasCode(absl::StatusCode::kInvalidArgument));
  const std::string list =
      authority_.SignRevocations({.number = 1, .signed_at = now_, .revoked = {}});
  EXPECT_THAT(ParseRevocationList(list + block), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(EncryptedPemTest, AKeyIsRefused) {
  EXPECT_THAT(ReadPrivateKeyPem(Encrypted("EC PRIVATE KEY")).status(),
              HasCode(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace fedtune
