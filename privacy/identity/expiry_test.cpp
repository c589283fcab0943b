// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/expiry.h"

#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/identity/certificate_authority.h"
#include "privacy/identity/expiry_watch.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using ::testing::SizeIs;

constexpr absl::Duration kDay = absl::Hours(24);

// Files of the coordinator, whose certificate is good for 90 days from now on, and its
// authority's for ten years.
class ExpiryTest : public ::testing::Test {
 protected:
  void SetUp() override { Renew(90 * kDay); }

  Certificate Issue(std::string name, absl::Duration valid_for) const {
    const PrivateKey key = PrivateKey::Generate();
    const Identity identity = {
        .federation = "north", .role = Role::kCoordinator, .name = std::move(name)};
    const auto request = CertificateRequest::Parse(*MakeCertificateRequest(key, identity));
    pem_ = *authority_.Issue(*request, {.identity = identity, .hosts = {}, .valid_for = valid_for},
                             clock_.Now());
    return *ParseCertificate(pem_);
  }

  void Renew(absl::Duration valid_for) {
    Issue("hub", valid_for);
    ASSERT_THAT(WriteFileAtomically(files_.certificate, pem_), IsOk());
    ASSERT_THAT(WriteFileAtomically(files_.authority, authority_.ToPem()), IsOk());
  }

  std::vector<Expiry> Soon() const { return ExpiringSoon(files_, clock_.Now()); }

  testing::FakeClock clock_;
  const testing::TemporaryDirectory directory_;
  const CredentialFiles files_ = FilesIn(directory_.path());
  const CertificateAuthority authority_ =
      *CertificateAuthority::Create("north", 3650 * kDay, clock_.Now());
  mutable std::string pem_;  // What was issued last.
  std::vector<std::string> lines_;
  Log log_{[this](std::string_view line) { lines_.emplace_back(line); }};
};

TEST_F(ExpiryTest, TheCoordinatorsCertificateIsDueThirtyDaysBeforeItsEnd) {
  clock_.Advance(60 * kDay - absl::Hours(1));
  EXPECT_THAT(Soon(), IsEmpty());
  clock_.Advance(absl::Hours(2));
  ASSERT_THAT(Soon(), SizeIs(1));
  EXPECT_EQ(Describe(Soon().front(), clock_.Now()),
            "the certificate of coordinator hub of federation north ends on 2027-04-15 (in 30 "
            "days); the custodian issues a new one for the same request.pem");
  clock_.Advance(30 * kDay);
  EXPECT_THAT(Describe(Soon().front(), clock_.Now()), HasSubstr("(expired "));
}

TEST_F(ExpiryTest, OneOfAWeekIsDueInItsLastThird) {
  Renew(7 * kDay);
  clock_.Advance(4 * kDay);
  EXPECT_THAT(Soon(), IsEmpty());
  clock_.Advance(kDay);
  EXPECT_THAT(Soon(), SizeIs(1));
}

// Then it can issue certificates of 90 days for another month.
TEST_F(ExpiryTest, TheAuthoritysCertificateIsDueFourMonthsBeforeItsEnd) {
  clock_.Advance(3529 * kDay);
  Renew(90 * kDay);
  EXPECT_THAT(Soon(), IsEmpty());
  clock_.Advance(2 * kDay);
  ASSERT_THAT(Soon(), SizeIs(1));
  EXPECT_THAT(Describe(Soon().front(), clock_.Now()),
              HasSubstr("the authority of federation north ends on "));
}

TEST_F(ExpiryTest, FilesThatAreNotThereArePassedBy) {
  EXPECT_THAT(ExpiringSoon(FilesIn("nowhere"), clock_.Now()), IsEmpty());
}

TEST_F(ExpiryTest, ADaemonSaysItAtItsStartAndOnceADay) {
  clock_.Advance(80 * kDay);
  ExpiryWatch watch(files_, nullptr, clock_, log_);
  EXPECT_THAT(lines_, ElementsAre(HasSubstr("warning a certificate expires soon "
                                            "whose=\"coordinator hub of federation north\"")));
  clock_.Advance(absl::Hours(23));
  watch.Look();
  EXPECT_THAT(lines_, SizeIs(1));
  clock_.SetTimeOfDay(-absl::Hours(1));
  clock_.Advance(absl::Hours(1));
  watch.Look();
  EXPECT_THAT(lines_, SizeIs(2));
  clock_.Advance(10 * kDay);
  watch.Look();
  EXPECT_THAT(lines_, ElementsAre(HasSubstr("soon"), HasSubstr("soon"), HasSubstr("has expired")));
}

TEST_F(ExpiryTest, ADaemonIsSilentOnceTheCertificateIsRenewed) {
  ExpiryWatch watch(files_, nullptr, clock_, log_);
  clock_.Advance(80 * kDay);
  Renew(90 * kDay);
  watch.Look();
  EXPECT_THAT(lines_, IsEmpty());
}

TEST_F(ExpiryTest, AClientSaysItOfTheCoordinatorsCertificate) {
  const auto shown = std::make_shared<SeenCertificate>();
  ExpiryWatch watch(FilesIn("nowhere"), shown, clock_, log_);
  EXPECT_THAT(lines_, IsEmpty());
  shown->Set(Issue("far", 90 * kDay));
  clock_.Advance(70 * kDay);
  watch.Look();
  EXPECT_THAT(lines_, ElementsAre(HasSubstr("coordinator far of federation north")));
  shown->Set(Issue("far", 90 * kDay));
  clock_.Advance(kDay);
  watch.Look();
  EXPECT_THAT(lines_, SizeIs(1));
}

}  // namespace
}  // namespace fedtune
