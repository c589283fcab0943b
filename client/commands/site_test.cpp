// SPDX-License-Identifier: Apache-2.0

#include "client/commands/site.h"

#include <sys/stat.h>

#include "base/exit_code.h"
#include "base/files.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "privacy/identity/certificate_authority.h"
#include "privacy/identity/private_file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/test_federation.h"

namespace fedtune {
namespace {

using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;
using ::testing::HasSubstr;
using ::testing::Not;

class SiteTest : public ::testing::Test {
 protected:
  SiteTest() { config_.institution = "st-anna"; }

  std::filesystem::path Write(const std::string& name, std::string_view content) {
    EXPECT_THAT(WriteFileAtomically(folder_.path() / name, content), IsOk());
    return folder_.path() / name;
  }

  const testing::TemporaryDirectory folder_;
  absl::StatusOr<std::vector<DatasetSize>> Count() {
    return CountRecords(config_, [](const auto&) { return ReadingObserver(); });
  }

  ClientConfig config_;
};

TEST_F(SiteTest, AllowsEverythingWithoutAPolicyFile) {
  const auto policy = LoadPolicy(config_);
  ASSERT_THAT(policy, IsOk());
  EXPECT_EQ(policy->max_rank, 0);
}

TEST_F(SiteTest, RefusesAPolicyFileThatIsMissing) {
  config_.policy = folder_.path() / "policy.toml";
  EXPECT_THAT(LoadPolicy(config_), HasCode(absl::StatusCode::kNotFound));
}

TEST_F(SiteTest, NamesTheLineOfAPolicyThatIsWrong) {
  config_.policy = Write("policy.toml", "max_rank = 0\n");
  EXPECT_THAT(Message(LoadPolicy(config_).status()), HasSubstr("policy.toml:1: max_rank"));
}

TEST_F(SiteTest, TakesTheCertificateOfTheInstitution) {
  const testing::TestFederation federation;
  config_.credentials =
      federation.WriteCredentials(folder_.path() / "keys", Role::kClient, "st-anna");
  EXPECT_THAT(LoadClientCredentials(config_, absl::Now()), IsOk());
}

TEST_F(SiteTest, RefusesTheCertificateOfAnotherInstitution) {
  const testing::TestFederation federation;
  config_.credentials = federation.WriteCredentials(folder_.path() / "keys", Role::kClient, "uke");
  const auto credentials = LoadClientCredentials(config_, absl::Now());
  EXPECT_THAT(credentials, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Message(credentials.status()), HasSubstr("the certificate is for \"uke\""));
}

TEST_F(SiteTest, RefusesTheSignerOfAnotherInstitution) {
  const auto authority = *CertificateAuthority::Create("north", absl::Hours(24 * 30), absl::Now());
  const Identity uke = {.federation = "north", .role = Role::kSigner, .name = "uke"};
  const std::filesystem::path keys = folder_.path() / "signer";
  config_.credentials = FilesIn(keys);
  ASSERT_THAT(MakeKeyAndRequest(keys, uke), IsOk());
  const auto request = CertificateRequest::Parse(*ReadFile(keys / "request.pem"));
  const auto certificate = authority.Issue(
      *request, {.identity = uke, .hosts = {}, .valid_for = absl::Hours(1)}, absl::Now());
  ASSERT_THAT(WriteFileAtomically(keys / "certificate.pem", *certificate), IsOk());
  ASSERT_THAT(WriteFileAtomically(keys / "authority.pem", authority.ToPem()), IsOk());
  const auto signer = LoadClientSigner(config_, absl::Now());
  EXPECT_THAT(signer, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Message(signer.status()), HasSubstr("the certificate is for \"uke\""));
  config_.institution = "uke";
  EXPECT_THAT(LoadClientSigner(config_, absl::Now()), IsOk());
}

TEST_F(SiteTest, RefusesTheCertificateOfAnotherRole) {
  const testing::TestFederation federation;
  config_.credentials =
      federation.WriteCredentials(folder_.path() / "keys", Role::kAdministrator, "st-anna");
  EXPECT_THAT(LoadClientCredentials(config_, absl::Now()),
              HasCode(absl::StatusCode::kPermissionDenied));
}

TEST_F(SiteTest, SealsItsRoundsWithTheKeyOfItsCertificate) {
  const testing::TestFederation federation;
  config_.credentials =
      federation.WriteCredentials(folder_.path() / "keys", Role::kClient, "st-anna");
  const auto credentials = LoadClientCredentials(config_, absl::Now());
  ASSERT_THAT(credentials, IsOk());
  EXPECT_EQ(RoundKey(*credentials), RoundKey(*LoadClientCredentials(config_, absl::Now())));
  config_.credentials =
      federation.WriteCredentials(folder_.path() / "other", Role::kClient, "st-anna");
  EXPECT_FALSE(RoundKey(*credentials) == RoundKey(*LoadClientCredentials(config_, absl::Now())));
}

TEST_F(SiteTest, CountsTheRecordsOfEachDataSet) {
  const std::string line = R"({"instruction": "What?", "output": "That."})";
  config_.datasets = {{"one", Write("a.jsonl", line + "\n" + line + "\nnot JSON\n"), ""},
                      {"two", Write("b.jsonl", line), ""}};
  const auto sizes = Count();
  ASSERT_THAT(sizes, IsOk());
  ASSERT_EQ(sizes->size(), 2);
  EXPECT_EQ(sizes->at(0).example_count, 2);
  EXPECT_EQ(sizes->at(1).name, "two");
  EXPECT_EQ(sizes->at(1).example_count, 1);
}

TEST_F(SiteTest, TellsNoSizesUnlessThePolicySaysSo) {
  std::vector<DatasetSize> datasets = {{.name = "one", .example_count = 3}};
  Policy policy;
  policy.tell_record_counts = true;
  HideSizes(policy, datasets);
  EXPECT_EQ(datasets[0].example_count, 3);
  policy.tell_record_counts = false;
  HideSizes(policy, datasets);
  EXPECT_EQ(datasets[0].name, "one");
  EXPECT_EQ(datasets[0].example_count, 0);
}

TEST_F(SiteTest, ReadsTheFederationKeyThatOnlyItsOwnerCanRead) {
  ASSERT_THAT(LoadFederationKey(config_), IsOk());
  EXPECT_EQ(*LoadFederationKey(config_), nullptr);
  config_.federation_key = folder_.path() / "federation.key";
  EXPECT_THAT(LoadFederationKey(config_), HasCode(absl::StatusCode::kNotFound));
  const std::string hex(64, 'a');
  ASSERT_THAT(WriteNewPrivateFile(config_.federation_key,
                                  SecretBytes(std::vector<uint8_t>(hex.begin(), hex.end()))),
              IsOk());
  const auto key = LoadFederationKey(config_);
  ASSERT_THAT(key, IsOk());
  EXPECT_EQ(**key, SecretBytes(std::vector<uint8_t>(32, 0xaa)));
  std::filesystem::permissions(config_.federation_key, std::filesystem::perms::group_read,
                               std::filesystem::perm_options::add);
  EXPECT_THAT(LoadFederationKey(config_), HasCode(absl::StatusCode::kPermissionDenied));
}

TEST_F(SiteTest, ReadsAFederationKeyThatHasBeenOnAnotherSystem) {
  config_.federation_key = folder_.path() / "federation.key";
  const std::string hex = std::string(64, 'a') + "\r\n";
  ASSERT_THAT(WriteNewPrivateFile(config_.federation_key,
                                  SecretBytes(std::vector<uint8_t>(hex.begin(), hex.end()))),
              IsOk());
  EXPECT_THAT(LoadFederationKey(config_), IsOk());
}

TEST_F(SiteTest, NeverPrintsWhatIsNoFederationKey) {
  config_.federation_key = folder_.path() / "federation.key";
  ASSERT_THAT(WriteNewPrivateFile(config_.federation_key,
                                  SecretBytes(std::vector<uint8_t>{'s', 'e', 'c', 'r', 'e', 't'})),
              IsOk());
  const absl::Status status = LoadFederationKey(config_).status();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(Message(status)), Not(HasSubstr("secret")));
}

TEST_F(SiteTest, RefusesToGoWithoutADataSet) {
  EXPECT_THAT(Message(Count().status()), HasSubstr("[[datasets]]"));
}

TEST_F(SiteTest, SaysWhichDataSetIsMissing) {
  config_.datasets = {{"one", folder_.path() / "a.jsonl", ""}};
  EXPECT_THAT(Count(), HasCode(absl::StatusCode::kNotFound));
  EXPECT_EQ(ExitCodeFor(Count().status()), 2);
}

// Rather than at its start it would be said when the first run is declined for it.
TEST_F(SiteTest, SaysWhichValidationRecordsAreMissingOrBad) {
  const std::filesystem::path train = Write("a.jsonl", R"({"instruction": "i", "output": "o"})");
  config_.datasets = {{"one", train, folder_.path() / "b.jsonl"}};
  EXPECT_THAT(std::string(Message(Count().status())), HasSubstr("b.jsonl"));
  EXPECT_EQ(ExitCodeFor(Count().status()), 2);
  config_.datasets = {{"one", train, Write("c.jsonl", "no record\n")}};
  EXPECT_THAT(std::string(Message(Count().status())), HasSubstr("c.jsonl:1"));
}

// Each run reads it anew.
TEST_F(SiteTest, RefusesAPipeAsADataSet) {
  const std::filesystem::path pipe = folder_.path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const std::filesystem::path file = Write("a.jsonl", R"({"instruction": "i", "output": "o"})");
  for (const DatasetConfig& dataset :
       {DatasetConfig{"one", pipe, ""}, DatasetConfig{"one", file, pipe},
        DatasetConfig{"one", "/dev/null", ""}}) {
    config_.datasets = {dataset};
    EXPECT_THAT(std::string(Message(Count().status())), HasSubstr("it is a pipe or a device"));
  }
}

TEST_F(SiteTest, HasNamesForAllThatItIsConfiguredWith) {
  config_.state_dir = "/srv/state";
  config_.credentials = FilesIn("/srv/state/keys");
  config_.base_models = {"/models/lite"};
  config_.policy = "/etc/policy.toml";
  config_.datasets = {{"letters", "/data/train.jsonl", "/data/eval.jsonl"}};
  const LocalNames names = LocalNamesOf(config_);
  EXPECT_EQ(names.Hide("/data/train.jsonl /data/eval.jsonl"),
            "<data set letters> <data set letters (eval)>");
  EXPECT_EQ(names.Hide("/models/lite/config.json /etc/policy.toml"),
            "<base model>/config.json <policy>");
  EXPECT_EQ(names.Hide("/srv/state/keys/signing_key.pem /srv/state/aggregations.db"),
            "<signing key> <state>/aggregations.db");
}

}  // namespace
}  // namespace fedtune
