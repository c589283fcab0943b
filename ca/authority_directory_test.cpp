// SPDX-License-Identifier: Apache-2.0

#include "ca/authority_directory.h"

#include <unistd.h>

#include <filesystem>

#include "base/files.h"
#include "base/status.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/identity/revocation_list.h"
#include "privacy/identity/signing_roster.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

namespace fs = std::filesystem;
using testing::HasCode;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using ::testing::SizeIs;
using testing::TemporaryDirectory;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);
constexpr absl::Duration kYear = absl::Hours(24 * 365);
const Identity kStAnna = {.federation = "north", .role = Role::kClient, .name = "st-anna"};

class AuthorityDirectoryTest : public ::testing::Test {
 protected:
  absl::StatusOr<AuthorityDirectory> Create() {
    return AuthorityDirectory::Create(path_, "north", kYear, kNow);
  }

  absl::StatusOr<IssuedCertificate> Issue(AuthorityDirectory& directory) {
    const auto pem = MakeCertificateRequest(PrivateKey::Generate(), kStAnna);
    const auto request = CertificateRequest::Parse(*pem);
    auto issued = directory.Issue(
        {&*request, 1}, {.identity = kStAnna, .hosts = {}, .valid_for = absl::Hours(24)}, kNow);
    if (!issued.ok()) return issued.status();
    return std::move(issued->front());
  }

  const TemporaryDirectory directory_;
  const fs::path path_ = directory_.path() / "ca";
};

TEST_F(AuthorityDirectoryTest, RecordsWhatItIssuesAcrossProcesses) {
  {
    absl::StatusOr<AuthorityDirectory> created = Create();
    ASSERT_THAT(created, IsOk());
    ASSERT_THAT(created->List(), IsOk());
    EXPECT_THAT(*created->List(), IsEmpty());
    ASSERT_THAT(Issue(*created), IsOk());
  }
  absl::StatusOr<AuthorityDirectory> reopened = AuthorityDirectory::Open(path_);
  ASSERT_THAT(reopened, IsOk());
  const absl::StatusOr<IssuedCertificate> second = Issue(*reopened);
  ASSERT_THAT(second, IsOk());
  const auto issued = *reopened->List();
  ASSERT_THAT(issued, SizeIs(2));
  EXPECT_EQ(issued[1].certificate.serial, second->certificate.serial);
  EXPECT_EQ(issued[1].issued_at, kNow);
  EXPECT_EQ(issued[1].pem, second->pem);
}

TEST_F(AuthorityDirectoryTest, AnAuthorityThatCannotBeWrittenWholeIsNotThereAtAll) {
  const fs::path in_the_way = path_ / fmt::format("ca.crt.{}.partial", ::getpid());
  ASSERT_THAT(MakeDirectories(in_the_way), IsOk());
  EXPECT_FALSE(Create().ok());
  EXPECT_FALSE(fs::exists(path_ / "ca.key"));
  fs::remove(in_the_way);
  EXPECT_THAT(Create(), IsOk());
}

TEST_F(AuthorityDirectoryTest, IssuesForTheAuthorityThatMembersGet) {
  absl::StatusOr<AuthorityDirectory> created = Create();
  ASSERT_THAT(created, IsOk());
  EXPECT_THAT(
      CheckCertificate(Issue(*created)->pem, *ReadFile(path_ / "ca.crt"), Role::kClient, kNow),
      IsOk());
}

TEST_F(AuthorityDirectoryTest, NeverOverwritesAnAuthority) {
  ASSERT_THAT(Create(), IsOk());
  const std::string key = *ReadFile(path_ / "ca.key");
  EXPECT_THAT(Create(), HasCode(absl::StatusCode::kAlreadyExists));
  EXPECT_EQ(*ReadFile(path_ / "ca.key"), key);
}

TEST_F(AuthorityDirectoryTest, NeverOverwritesAPartOfAnAuthority) {
  for (const char* part : {"ca.crt", "issued.db"}) {
    fs::remove_all(path_);
    ASSERT_THAT(MakeDirectories(path_), IsOk());
    ASSERT_THAT(WriteFileAtomically(path_ / part, "older"), IsOk());
    EXPECT_THAT(Create(), HasCode(absl::StatusCode::kAlreadyExists));
    EXPECT_FALSE(fs::exists(path_ / "ca.key"));
  }
}

TEST_F(AuthorityDirectoryTest, SaysWhatToDoWithAnAuthorityWhoseMakingWasCutOff) {
  ASSERT_THAT(Create(), IsOk());
  fs::remove(path_ / "issued.db");
  const absl::Status status = Create().status();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(std::string(Message(status)), HasSubstr("cut off"));
}

TEST_F(AuthorityDirectoryTest, SaysHowToMakeAMissingAuthority) {
  const absl::Status status = AuthorityDirectory::Open(path_).status();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(std::string(Message(status)), HasSubstr("fedtune-ca init"));
}

TEST_F(AuthorityDirectoryTest, DoesNotBeginAnewWhereItsRecordIsLost) {
  ASSERT_THAT(Create(), IsOk());
  fs::remove(path_ / "issued.db");
  const absl::Status status = AuthorityDirectory::Open(path_).status();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(std::string(Message(status)), HasSubstr("issued.db is missing"));
  EXPECT_FALSE(fs::exists(path_ / "issued.db"));
  ASSERT_THAT(WriteFileAtomically(path_ / "issued.db", ""), IsOk());
  EXPECT_THAT(AuthorityDirectory::Open(path_), IsOk());
}

TEST_F(AuthorityDirectoryTest, RefusesAKeyThatOthersCanRead) {
  ASSERT_THAT(Create(), IsOk());
  fs::permissions(path_ / "ca.key", fs::perms::others_read, fs::perm_options::add);
  EXPECT_THAT(AuthorityDirectory::Open(path_), HasCode(absl::StatusCode::kPermissionDenied));
}

TEST_F(AuthorityDirectoryTest, RefusesADamagedCertificateAndNamesTheFile) {
  ASSERT_THAT(Create(), IsOk());
  ASSERT_THAT(WriteFileAtomically(path_ / "ca.crt", "a letter"), IsOk());
  const absl::Status status = AuthorityDirectory::Open(path_).status();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(Message(status)), HasSubstr("ca.crt: "));
}

TEST_F(AuthorityDirectoryTest, ReportsADamagedRecord) {
  absl::StatusOr<AuthorityDirectory> created = Create();
  ASSERT_THAT(Issue(*created), IsOk());
  absl::StatusOr<SqliteDatabase> record = SqliteDatabase::Open(path_ / "issued.db");
  ASSERT_THAT(record->Execute("UPDATE issued SET pem = 'a letter'"), IsOk());
  EXPECT_THAT(created->List(), HasCode(absl::StatusCode::kDataLoss));
}

// Of a version that knew no revocation.
TEST_F(AuthorityDirectoryTest, BringsAnOlderRecordUpToDate) {
  {
    absl::StatusOr<AuthorityDirectory> authority = Create();
    ASSERT_THAT(Issue(*authority), IsOk());
  }
  {
    absl::StatusOr<SqliteDatabase> record = SqliteDatabase::Open(path_ / "issued.db");
    ASSERT_THAT(record->Execute("DROP TABLE revoked; DROP TABLE revocation_lists;"
                                "PRAGMA user_version = 2"),
                IsOk());
  }
  absl::StatusOr<AuthorityDirectory> opened = AuthorityDirectory::Open(path_);
  ASSERT_THAT(opened, IsOk());
  EXPECT_EQ(opened->List()->front().revoked_at, std::nullopt);
  EXPECT_THAT(opened->RevokeMember(kStAnna, kNow), IsOk());
  EXPECT_EQ(opened->List()->front().revoked_at, kNow);
}

TEST_F(AuthorityDirectoryTest, RevokesAllOfSeveralSerialsOrNothing) {
  absl::StatusOr<AuthorityDirectory> authority = Create();
  const std::string known = Issue(*authority)->certificate.serial;
  const std::string serials[] = {known, "0123"};
  const absl::Status status = authority->Revoke(serials, kNow).status();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(std::string(Message(status)), HasSubstr("serial 0123"));
  EXPECT_EQ(authority->List()->front().revoked_at, std::nullopt);
}

// Its number is spent in one transaction with what is revoked.
TEST_F(AuthorityDirectoryTest, EachListHasAHigherNumberAcrossProcesses) {
  ASSERT_THAT(Create(), IsOk());
  uint64_t before = 0;
  for (int i = 0; i < 3; ++i) {
    absl::StatusOr<AuthorityDirectory> authority = AuthorityDirectory::Open(path_);
    const std::string serial = Issue(*authority)->certificate.serial;
    const auto revoked = authority->Revoke({&serial, 1}, kNow);
    ASSERT_THAT(revoked, IsOk());
    const auto list = RevocationList::Verify(revoked->list, *ReadFile(path_ / "ca.crt"));
    ASSERT_THAT(list, IsOk());
    EXPECT_GT(list->number(), before);
    EXPECT_EQ(list->size(), static_cast<size_t>(i) + 1);
    before = list->number();
  }
}

// Anna is about to write her list when Berta revokes, and writes, too.
TEST_F(AuthorityDirectoryTest, TheNewestListIsInPlaceHoweverTwoCustodiansWrite) {
  absl::StatusOr<AuthorityDirectory> anna = Create();
  absl::StatusOr<AuthorityDirectory> berta = AuthorityDirectory::Open(path_);
  const std::string one = Issue(*anna)->certificate.serial;
  const std::string other = Issue(*anna)->certificate.serial;
  ASSERT_THAT(anna->Revoke({&one, 1}, kNow), IsOk());
  std::string in_place;
  int written_by_anna = 0;
  const auto list = anna->PutNewestList(kNow, [&](const std::string& annas) {
    if (++written_by_anna == 1) in_place = berta->Revoke({&other, 1}, kNow)->list;
    in_place = annas;
    return absl::OkStatus();
  });
  ASSERT_THAT(list, IsOk());
  EXPECT_EQ(in_place, *list);
  EXPECT_EQ(in_place, *berta->ListOfRevoked(kNow));
  EXPECT_EQ(ParseRevocationList(in_place)->revoked.size(), 2);
  EXPECT_EQ(written_by_anna, 2);
}

// The authority certifies signers of several institutions.
class RosterSigningTest : public AuthorityDirectoryTest {
 protected:
  void SetUp() override { ASSERT_THAT(Create(), IsOk()); }

  void Certify(const std::string& name, const SigningKey& key, absl::Duration valid_for) {
    const Identity identity = {.federation = "north", .role = Role::kSigner, .name = name};
    const auto request = CertificateRequest::Parse(*MakeSigningRequest(key, identity));
    absl::StatusOr<AuthorityDirectory> authority = AuthorityDirectory::Open(path_);
    ASSERT_THAT(authority->Issue({&*request, 1},
                                 {.identity = identity, .hosts = {}, .valid_for = valid_for}, kNow),
                IsOk());
  }

  absl::StatusOr<SigningRoster> Sign(absl::Time now) {
    absl::StatusOr<AuthorityDirectory> authority = AuthorityDirectory::Open(path_);
    absl::StatusOr<std::string> text = authority->SignRoster(now);
    if (!text.ok()) return text.status();
    return SigningRoster::Verify(*text, *ReadFile(path_ / "ca.crt"), now);
  }

  const SigningKey st_anna_ = SigningKey::Generate(CipherSuite::kCurve25519);
  const SigningKey uke_ = SigningKey::Generate(CipherSuite::kNistP256);
};

TEST_F(RosterSigningTest, ListsEveryInstitutionByItsNumber) {
  Certify("uke", uke_, absl::Hours(24));
  Certify("st-anna", st_anna_, absl::Hours(24));
  const auto roster = Sign(kNow);
  ASSERT_THAT(roster, IsOk());
  EXPECT_EQ(roster->version(), 1);
  ASSERT_THAT(roster->entries(), SizeIs(2));
  EXPECT_EQ(roster->Find(1u)->institution, "uke");
  EXPECT_EQ(roster->Find(2u)->institution, "st-anna");
  EXPECT_THAT(roster->CheckLists("uke", uke_), IsOk());
  EXPECT_THAT(roster->CheckLists("st-anna", st_anna_), IsOk());
}

TEST_F(RosterSigningTest, ListsNoKeyThatSomebodyHasWrittenIntoTheRecord) {
  Certify("uke", uke_, absl::Hours(24));
  const Identity uke = {.federation = "north", .role = Role::kSigner, .name = "uke"};
  const auto impostor = CertificateAuthority::Create("north", absl::Hours(48), kNow);
  ASSERT_THAT(impostor, IsOk());
  const auto forged =
      impostor->Issue(*CertificateRequest::Parse(*MakeSigningRequest(st_anna_, uke)),
                      {.identity = uke, .hosts = {}, .valid_for = absl::Hours(24)}, kNow);
  ASSERT_THAT(forged, IsOk());
  absl::StatusOr<SqliteDatabase> record = SqliteDatabase::Open(path_ / "issued.db");
  ASSERT_THAT(record->Run("UPDATE issued SET pem = ?", *forged), IsOk());
  const absl::Status status = Sign(kNow).status();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(std::string(Message(status)), HasSubstr("not of this authority"));
}

TEST_F(RosterSigningTest, GivesEverySigningANewVersion) {
  Certify("uke", uke_, absl::Hours(24));
  const auto first = Sign(kNow);
  const auto second = Sign(kNow);
  ASSERT_THAT(second, IsOk());
  EXPECT_EQ(second->version(), 2);
  EXPECT_THAT(second->CheckFollows(first->mark()), IsOk());
}

TEST_F(RosterSigningTest, KeepsAnInstitutionsNumberWhenItsKeyChanges) {
  Certify("uke", uke_, absl::Hours(24));
  Certify("st-anna", st_anna_, absl::Hours(24));
  const SigningKey newer = SigningKey::Generate(CipherSuite::kCurve25519);
  Certify("uke", newer, absl::Hours(24));
  const auto roster = Sign(kNow);
  ASSERT_THAT(roster, IsOk());
  EXPECT_THAT(roster->entries(), SizeIs(2));
  EXPECT_EQ(roster->Find("uke")->number, 1);
  EXPECT_THAT(roster->CheckLists("uke", newer), IsOk());
}

TEST_F(RosterSigningTest, LeavesOutExpiredCertificatesAndNeverReusesTheirNumber) {
  Certify("uke", uke_, absl::Hours(1));
  Certify("st-anna", st_anna_, absl::Hours(24));
  const auto roster = Sign(kNow + absl::Hours(2));
  ASSERT_THAT(roster, IsOk());
  ASSERT_THAT(roster->entries(), SizeIs(1));
  EXPECT_EQ(roster->Find("st-anna")->number, 2);
}

TEST_F(RosterSigningTest, SpendsNoVersionOnARosterOfNobody) {
  EXPECT_THAT(Sign(kNow), HasCode(absl::StatusCode::kFailedPrecondition));
  Certify("uke", uke_, absl::Hours(1));
  EXPECT_EQ(Sign(kNow)->version(), 1);
}

TEST_F(RosterSigningTest, IssuesAllOfAFileOrNothing) {
  std::vector<CertificateRequest> requests;
  requests.push_back(
      *CertificateRequest::Parse(*MakeCertificateRequest(PrivateKey::Generate(), kStAnna)));
  requests.push_back(*CertificateRequest::Parse(
      *MakeSigningRequest(uke_, {.federation = "north", .role = Role::kSigner, .name = "uke"})));
  absl::StatusOr<AuthorityDirectory> authority = AuthorityDirectory::Open(path_);
  EXPECT_THAT(authority->Issue(
                  requests, {.identity = kStAnna, .hosts = {}, .valid_for = absl::Hours(24)}, kNow),
              HasCode(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(*authority->List(), IsEmpty());
}

}  // namespace
}  // namespace fedtune
