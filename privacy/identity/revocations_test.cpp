// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/revocations.h"

#include <string>
#include <vector>

#include "base/files.h"
#include "base/logging.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/identity/certificate_authority.h"
#include "privacy/identity/revocation_watch.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::TemporaryDirectory;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);
constexpr absl::Duration kYear = absl::Hours(24 * 365);

// A daemon whose list is put in place by its operator.
class RevocationsTest : public ::testing::Test {
 protected:
  RevocationsTest() {
    Write(authority_file_, authority_.ToPem());
    Put(3, {"0a"});
  }

  static void Write(const std::filesystem::path& file, const std::string& text) {
    ASSERT_THAT(WriteFileAtomically(file, text), IsOk());
  }

  void Put(uint64_t number, const std::vector<std::string>& serials) {
    RevocationContent content = {.number = number, .signed_at = kNow, .revoked = {}};
    for (const std::string& serial : serials) content.revoked.push_back({serial, kNow});
    Write(list_file_, authority_.SignRevocations(content));
  }

  static Certificate Of(const std::string& serial) {
    return {.identity = {.federation = "north", .role = Role::kClient, .name = "st-anna"},
            .hosts = {},
            .not_before = {},
            .not_after = {},
            .serial = serial,
            .fingerprint = {},
            .key_fingerprint = {}};
  }

  std::shared_ptr<Revocations> Open() const {
    return *Revocations::Open(list_file_, authority_file_);
  }

  const TemporaryDirectory directory_;
  const std::filesystem::path list_file_ = directory_.path() / "revoked.crl";
  const std::filesystem::path authority_file_ = directory_.path() / "authority.pem";
  const CertificateAuthority authority_ = *CertificateAuthority::Create("north", kYear, kNow);
};

TEST_F(RevocationsTest, TakesANewerListUp) {
  const auto revocations = Open();
  EXPECT_THAT(revocations->CheckNotRevoked(Of("0a")), HasCode(absl::StatusCode::kUnauthenticated));
  EXPECT_THAT(revocations->CheckNotRevoked(Of("0b")), IsOk());
  Put(4, {"0a", "0b"});
  EXPECT_THAT(revocations->CheckNotRevoked(Of("0b")), IsOk()) << "nobody has looked yet";
  ASSERT_THAT(revocations->Refresh(), IsOk());
  EXPECT_THAT(revocations->CheckNotRevoked(Of("0b")), HasCode(absl::StatusCode::kUnauthenticated));
}

TEST_F(RevocationsTest, StaysWithItsListWhereAnotherIsNotGood) {
  const auto revocations = Open();
  Put(2, {});
  EXPECT_THAT(revocations->Refresh(), HasCode(absl::StatusCode::kFailedPrecondition));
  Put(3, {"0c"});
  EXPECT_THAT(revocations->Refresh(), HasCode(absl::StatusCode::kFailedPrecondition));
  Write(list_file_, "a letter");
  EXPECT_THAT(revocations->Refresh(), HasCode(absl::StatusCode::kInvalidArgument));
  std::filesystem::remove(list_file_);
  EXPECT_THAT(revocations->Refresh(), HasCode(absl::StatusCode::kNotFound));
  const auto impostor = CertificateAuthority::Create("north", kYear, kNow);
  Write(list_file_, impostor->SignRevocations({.number = 9, .signed_at = kNow, .revoked = {}}));
  EXPECT_THAT(revocations->Refresh(), HasCode(absl::StatusCode::kUnauthenticated));
  EXPECT_THAT(revocations->CheckNotRevoked(Of("0a")), HasCode(absl::StatusCode::kUnauthenticated));
  EXPECT_EQ(revocations->list()->number(), 3);
}

TEST_F(RevocationsTest, LooksAgainAtTheSameListForAnotherAuthority) {
  const auto revocations = Open();
  ASSERT_THAT(revocations->Refresh(), IsOk());
  const auto other = CertificateAuthority::Create("north", kYear, kNow);
  Write(authority_file_, other->ToPem());
  EXPECT_THAT(revocations->Refresh(), HasCode(absl::StatusCode::kUnauthenticated));
  EXPECT_THAT(revocations->Refresh(), HasCode(absl::StatusCode::kUnauthenticated));
  Write(authority_file_, authority_.ToPem());
  EXPECT_THAT(revocations->Refresh(), IsOk());
}

TEST_F(RevocationsTest, DoesNotBeginWithoutAGoodList) {
  Write(list_file_, "a letter");
  EXPECT_THAT(Revocations::Open(list_file_, authority_file_),
              HasCode(absl::StatusCode::kInvalidArgument));
}

class KeptRevocationsTest : public RevocationsTest {
 protected:
  absl::StatusOr<std::shared_ptr<Revocations>> NewProcess() const {
    return Revocations::Open(list_file_, authority_file_, kept_file_);
  }

  const std::filesystem::path kept_file_ = directory_.path() / kKeptRevocationList;
};

TEST_F(KeptRevocationsTest, ALaterProcessTakesNoOlderList) {
  const auto first = *NewProcess();
  ASSERT_THAT(first->Keep(), IsOk());
  Put(4, {"0a", "0b"});
  const std::string fourth = *ReadFile(list_file_);
  ASSERT_THAT(first->Refresh(), IsOk());
  ASSERT_THAT(first->Keep(), IsOk());
  Put(3, {"0a"});
  const auto later = NewProcess();
  EXPECT_THAT(later, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(std::string(Message(later.status())),
              ::testing::AllOf(HasSubstr(list_file_.string()), HasSubstr(kept_file_.string()),
                               HasSubstr("it has the number 3, and 4 is in use")));
  Write(list_file_, fourth);
  EXPECT_THAT(NewProcess(), IsOk());
  Put(5, {"0a", "0b", "0c"});
  EXPECT_THAT(NewProcess(), IsOk());
}

TEST_F(KeptRevocationsTest, WhoOnlyLooksKeepsNothing) {
  ASSERT_THAT(NewProcess(), IsOk());
  EXPECT_FALSE(std::filesystem::exists(kept_file_));
}

TEST_F(KeptRevocationsTest, AnotherAuthorityBeginsAnew) {
  ASSERT_THAT((*NewProcess())->Keep(), IsOk());
  const auto other = CertificateAuthority::Create("north", kYear, kNow);
  Write(authority_file_, other->ToPem());
  Write(list_file_, other->SignRevocations({.number = 1, .signed_at = kNow, .revoked = {}}));
  EXPECT_THAT(NewProcess(), IsOk());
}

TEST_F(KeptRevocationsTest, ACopyThatCannotBeReadIsNotTakenForNone) {
  std::filesystem::create_directory(kept_file_);
  EXPECT_FALSE(NewProcess().ok());
}

TEST_F(KeptRevocationsTest, TheWatchKeepsEachListAndSaysOnceThatItCannot) {
  std::vector<std::string> lines;
  Log log([&lines](std::string_view line) { lines.emplace_back(line); });
  RevocationWatch watch(
      *NewProcess(), log, [] {}, absl::Hours(1));
  Put(4, {"0a", "0b"});
  watch.Look();
  EXPECT_EQ(*ReadFile(kept_file_), *ReadFile(list_file_));
  std::filesystem::remove(kept_file_);
  std::filesystem::create_directories(kept_file_ / "in the way");
  Put(5, {"0a", "0b"});
  lines.clear();
  for (int i = 0; i < 3; ++i) watch.Look();
  EXPECT_THAT(lines, ::testing::UnorderedElementsAre(HasSubstr("revocation list number=5"),
                                                     HasSubstr("its copy cannot be kept")));
}

// A watch that looks when the test says so.
class RevocationWatchTest : public RevocationsTest {
 protected:
  std::vector<std::string> lines_;
  int looked_ = 0;
  Log log_{[this](std::string_view line) { lines_.emplace_back(line); }};
  const std::shared_ptr<Revocations> revocations_ = Open();
  RevocationWatch watch_{revocations_, log_, [this] { ++looked_; }, absl::Hours(1)};
};

TEST_F(RevocationWatchTest, SaysWhichListIsInUseAndOnceWhyAnotherIsNot) {
  Put(2, {});
  watch_.Look();
  watch_.Look();
  Put(4, {"0a", "0b"});
  watch_.Look();
  watch_.Look();
  EXPECT_EQ(looked_, 4);
  EXPECT_THAT(lines_, ElementsAre(AllOf(HasSubstr("revocation list"), HasSubstr("number=3")),
                                  AllOf(HasSubstr("the revocation list is not taken"),
                                        HasSubstr("an older list is never taken")),
                                  AllOf(HasSubstr("number=4"), HasSubstr("revoked=2"))));
}

TEST_F(RevocationWatchTest, SaysThatAFaultIsOver) {
  const std::string list = *ReadFile(list_file_);
  std::filesystem::remove(list_file_);
  watch_.Look();
  Write(list_file_, list);
  watch_.Look();
  ASSERT_EQ(lines_.size(), 3);
  EXPECT_THAT(lines_[1], HasSubstr("revoked.crl"));
  EXPECT_THAT(lines_[2], HasSubstr("number=3"));
}

}  // namespace
}  // namespace fedtune
