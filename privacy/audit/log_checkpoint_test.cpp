// SPDX-License-Identifier: Apache-2.0

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/audit/checkpoint.h"
#include "privacy/identity/certificate_authority.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);  // 2027-01-15

SigningKey KeyOf(const PrivateKey& key) {
  const SecretBytes pem = key.ToPem();
  const auto bytes = pem.Reveal();
  return *SigningKey::ParsePem({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

class CheckpointTest : public ::testing::Test {
 protected:
  static CertificateAuthority NewAuthority(std::string_view federation = "north") {
    return *CertificateAuthority::Create(federation, absl::Hours(24 * 365), kNow);
  }

  std::string Issue(const CertificateAuthority& authority, Role role = Role::kCoordinator) const {
    const Identity identity = {
        .federation = authority.certificate().federation, .role = role, .name = "hub"};
    const auto request = *CertificateRequest::Parse(*MakeCertificateRequest(key_, identity));
    return *authority.Issue(
        request, {.identity = identity, .hosts = {}, .valid_for = absl::Hours(24 * 30)}, kNow);
  }

  SignedCheckpoint Sign(const Checkpoint& checkpoint) const {
    return {SignCheckpoint(checkpoint, KeyOf(key_)), Issue(authority_)};
  }

  absl::StatusOr<Checkpoint> Verify(const SignedCheckpoint& checkpoint) const {
    return VerifyCheckpoint(checkpoint, authority_.ToPem());
  }

  CertificateAuthority authority_ = NewAuthority();
  PrivateKey key_ = PrivateKey::Generate();
  Checkpoint checkpoint_ = {.federation = "north", .head = {1234, Sha256Of("root")}};
};

TEST_F(CheckpointTest, IsReadAsItWasSigned) {
  const absl::StatusOr<Checkpoint> read = Verify(Sign(checkpoint_));
  ASSERT_THAT(read, IsOk()) << read.status();
  EXPECT_EQ(*read, checkpoint_);
}

TEST_F(CheckpointTest, IsNotTakenWithAnotherText) {
  SignedCheckpoint signed_checkpoint = Sign(checkpoint_);
  signed_checkpoint.note.replace(signed_checkpoint.note.find("1234"), 4, "1235");
  EXPECT_THAT(Verify(signed_checkpoint), HasCode(absl::StatusCode::kUnauthenticated));
}

}  // namespace
}  // namespace fedtune
