// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/checkpoint_signer.h"

#include <filesystem>
#include <string>

#include "base/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/test_federation.h"

namespace fedtune::testing {
namespace {

constexpr absl::Duration kReload = absl::Minutes(1);

class CheckpointSignerTest : public ::testing::Test {
 protected:
  CheckpointSignerTest() { clock_.SetTimeOfDay(absl::Now() - clock_.Now()); }

  static LogHead Head(uint64_t size) { return {.size = size, .root = Sha256Of("root")}; }

  // The files of a renewed certificate, with a key of its own.
  void Renew(std::string_view what = "") {
    const CredentialFiles renewed =
        federation_.WriteCredentials(directory_.path() / "renewed", Role::kCoordinator, "hub");
    if (what != "certificate") std::filesystem::rename(renewed.key, files_.key);
    if (what != "key") std::filesystem::rename(renewed.certificate, files_.certificate);
  }

  absl::StatusOr<LogCheckpoint> Verify(const SignedCheckpoint& signed_checkpoint) const {
    return VerifyCheckpoint(signed_checkpoint, federation_.authority_pem());
  }

  const TestFederation federation_;
  const TemporaryDirectory directory_;
  const CredentialFiles files_ =
      federation_.WriteCredentials(directory_.path() / "keys", Role::kCoordinator, "hub");
  FakeClock clock_;
};

TEST_F(CheckpointSignerTest, SignsForItsFederation) {
  auto signer = CheckpointSigner::Open(files_, kReload, clock_);
  ASSERT_THAT(signer, IsOk()) << signer.status();
  EXPECT_EQ(*Verify(signer->Sign(Head(7))),
            (LogCheckpoint{.federation = "north", .head = Head(7)}));
}

TEST_F(CheckpointSignerTest, SignsOneHeadOnce) {
  auto signer = *CheckpointSigner::Open(files_, kReload, clock_);
  const SignedCheckpoint first = signer.Sign(Head(7));
  EXPECT_EQ(signer.Sign(Head(7)), first);
  EXPECT_NE(signer.Sign(Head(8)), first);
}

TEST_F(CheckpointSignerTest, SignsWithARenewedCertificateAndItsKey) {
  auto signer = *CheckpointSigner::Open(files_, kReload, clock_);
  const SignedCheckpoint before = signer.Sign(Head(7));
  Renew();
  EXPECT_EQ(signer.Sign(Head(7)), before);
  clock_.Advance(kReload);
  const SignedCheckpoint after = signer.Sign(Head(7));
  EXPECT_NE(after.certificate_pem, before.certificate_pem);
  EXPECT_THAT(Verify(after), IsOk());
  EXPECT_THAT(Verify(before), IsOk());
}

TEST_F(CheckpointSignerTest, KeepsThePairThatItHasWhileOneFileIsRenewed) {
  for (const char* renewed : {"key", "certificate"}) {
    auto signer = CheckpointSigner::Open(files_, kReload, clock_);
    ASSERT_THAT(signer, IsOk());
    const SignedCheckpoint before = signer->Sign(Head(7));
    Renew(renewed);
    clock_.Advance(kReload);
    EXPECT_EQ(signer->Sign(Head(7)), before);
    Renew();
    clock_.Advance(kReload);
    EXPECT_THAT(Verify(signer->Sign(Head(7))), IsOk());
  }
}

TEST_F(CheckpointSignerTest, IsNoneWithAClientsCertificate) {
  const CredentialFiles client =
      federation_.WriteCredentials(directory_.path() / "client", Role::kClient, "ada");
  EXPECT_THAT(CheckpointSigner::Open(client, kReload, clock_),
              HasCode(absl::StatusCode::kPermissionDenied));
}

}  // namespace
}  // namespace fedtune::testing
