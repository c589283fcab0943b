// SPDX-License-Identifier: Apache-2.0

#include "client/config.h"

#include "base/status.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kMinimal = R"(coordinator = "fl.example.org:7443"
institution = "st-anna"
state_dir = "state"
)";

absl::StatusOr<ClientConfig> Parse(std::string_view toml, const ClientFlags& flags = {}) {
  return ParseClientConfig(toml, "/etc/fedtune/client.toml", flags);
}

// `kMinimal` with more at its end.
absl::StatusOr<ClientConfig> ParseWith(std::string_view more) {
  return Parse(std::string(kMinimal) + std::string(more));
}

std::string ProblemWith(std::string_view more) {
  return std::string(Message(ParseWith(more).status()));
}

TEST(ConfigTest, FillsInWhatIsNotSaid) {
  const auto config = Parse(kMinimal);
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->coordinator, "fl.example.org:7443");
  EXPECT_EQ(config->credentials.certificate, "/etc/fedtune/state/keys/certificate.pem");
  EXPECT_EQ(config->credentials.signing_key, "/etc/fedtune/state/keys/signing_key.pem");
  EXPECT_EQ(config->credentials.signing_certificate, config->credentials.certificate);
  EXPECT_EQ(config->device, "auto");
  EXPECT_EQ(config->checkpoint_seconds, 60);
  EXPECT_EQ(config->recompute, Recompute::kAuto);
  EXPECT_EQ(config->memory_gb, std::nullopt);
  EXPECT_TRUE(config->policy.empty());
  EXPECT_TRUE(config->revocation_list.empty());
  EXPECT_TRUE(config->datasets.empty());
}

TEST(ConfigTest, ReadsEveryKey) {
  const auto config = ParseWith(R"(
certificate = "/run/c.pem"
key = "/run/k.pem"
authority = "/run/a.pem"
revocation_list = "revoked.crl"
signing_key = "/run/s.pem"
signing_certificate = "/run/t.pem"
base_models = ["/models/lite", "local"]
policy = "policy.toml"
[[datasets]]
name = "letters"
train = "/data/train.jsonl"
eval = "eval.jsonl"
[device]
kind = "cuda:1"
threads = 16
[training]
checkpoint_seconds = 7.5
recompute = "always"
memory_gb = 48
[log]
format = "json"
)");
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->credentials.certificate, "/run/c.pem");
  EXPECT_EQ(config->credentials.key, "/run/k.pem");
  EXPECT_EQ(config->credentials.authority, "/run/a.pem");
  EXPECT_EQ(config->revocation_list, "/etc/fedtune/revoked.crl");
  EXPECT_EQ(config->credentials.signing_key, "/run/s.pem");
  EXPECT_EQ(config->credentials.signing_certificate, "/run/t.pem");
  EXPECT_THAT(config->base_models, ElementsAre("/models/lite", "/etc/fedtune/local"));
  EXPECT_EQ(config->policy, "/etc/fedtune/policy.toml");
  EXPECT_THAT(config->datasets, ElementsAre(DatasetConfig{"letters", "/data/train.jsonl",
                                                          "/etc/fedtune/eval.jsonl"}));
  EXPECT_EQ(config->device, "cuda:1");
  EXPECT_EQ(config->threads, 16);
  EXPECT_EQ(config->checkpoint_seconds, 7.5);
  EXPECT_EQ(config->recompute, Recompute::kAlways);
  EXPECT_EQ(config->memory_gb, 48);
  EXPECT_EQ(config->log_format, Log::Format::kJson);
}

TEST(ConfigTest, LooksForTheSignersCertificateInTheFileOfTheClients) {
  const auto config = ParseWith("certificate = \"/run/c.pem\"\n");
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->credentials.signing_certificate, "/run/c.pem");
}

TEST(ConfigTest, FlagsWinOverTheFile) {
  ClientFlags flags;
  flags.coordinator = "other:1";
  flags.state_dir = "/elsewhere";
  flags.device = "cpu";
  flags.threads = 2;
  flags.datasets = {"notes:n.jsonl:m.jsonl"};
  flags.base_models = {"here"};
  const auto config = Parse(kMinimal, flags);
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->coordinator, "other:1");
  EXPECT_EQ(config->credentials.key, "/elsewhere/keys/key.pem");
  EXPECT_EQ(config->device, "cpu");
  EXPECT_EQ(config->threads, 2);
  EXPECT_THAT(config->datasets, ElementsAre(DatasetConfig{"notes", "n.jsonl", "m.jsonl"}));
  EXPECT_THAT(config->base_models, ElementsAre("here"));
}

TEST(ConfigTest, FlagsAloneAreEnough) {
  ClientFlags flags;
  flags.coordinator = "here:7443";
  flags.institution = "uke";
  flags.state_dir = "/s";
  EXPECT_THAT(ParseClientConfig("", "", flags), IsOk());
}

TEST(ConfigTest, RefusesAnAddressWithAScheme) {
  ClientFlags flags;
  flags.coordinator = "https://here:7443";
  flags.institution = "uke";
  flags.state_dir = "/s";
  EXPECT_EQ(Message(ParseClientConfig("", "", flags).status()),
            "--coordinator must be the coordinator's address, \"host:port\"");
}

TEST(ConfigTest, SpeaksOfFlagsWhereThereIsNoFile) {
  ClientFlags flags;
  flags.datasets = {"notes:n.jsonl", "notes:m.jsonl"};
  EXPECT_EQ(Message(ParseClientConfig("", "", flags).status()),
            "--coordinator must be the coordinator's address, \"host:port\"\n"
            "--institution must be the name in the certificate: up to 63 of a-z, 0-9 and -\n"
            "--state-dir must name the folder for the client's keys and its work\n"
            "--dataset has two data sets of the name \"notes\"");
}

TEST(ConfigTest, NamesTheFlagWhoseValueIsWrong) {
  ClientFlags flags;
  flags.device = "gpu";
  EXPECT_EQ(Message(Parse(kMinimal, flags).status()),
            "--device must be \"auto\", \"cpu\" or a GPU such as \"cuda:0\"");
}

TEST(ConfigTest, TellsEverythingThatIsMissingAtOnce) {
  const absl::Status status = Parse("").status();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Message(status), HasSubstr("coordinator must be the coordinator's address"));
  EXPECT_THAT(Message(status), HasSubstr("institution must be the name"));
  EXPECT_THAT(Message(status), HasSubstr("state_dir must name the folder"));
}

TEST(ConfigTest, SaysWhichKeyWasProbablyMeant) {
  EXPECT_THAT(ProblemWith("base_model = [\"x\"]\n"),
              HasSubstr("client.toml:4: unknown key \"base_model\"; did you mean base_models?"));
}

TEST(ConfigTest, RefusesAnAddressWithoutPort) {
  EXPECT_THAT(
      Message(Parse("coordinator = \"fl\"\ninstitution = \"a\"\nstate_dir = \"s\"\n").status()),
      HasSubstr("client.toml:1: coordinator must be"));
}

TEST(ConfigTest, RefusesAnInstitutionThatIsNoName) {
  EXPECT_THAT(
      Message(
          Parse("coordinator = \"f:1\"\ninstitution = \"St Anna\"\nstate_dir = \"s\"\n").status()),
      HasSubstr("client.toml:2: institution must be"));
}

TEST(ConfigTest, RefusesAnUnknownDevice) {
  EXPECT_THAT(ProblemWith("[device]\nkind = \"cuda\"\n"), HasSubstr("client.toml:5: kind"));
}

TEST(ConfigTest, RefusesNegativeThreads) {
  EXPECT_THAT(ProblemWith("[device]\nthreads = -1\n"), HasSubstr("client.toml:5: threads"));
}

TEST(ConfigTest, TakesNoCheckpointsAsAnInterval) {
  EXPECT_EQ(ParseWith("[training]\ncheckpoint_seconds = 0\n")->checkpoint_seconds, 0);
  ClientFlags flags;
  flags.checkpoint_seconds = 5;
  EXPECT_EQ(Parse(kMinimal, flags)->checkpoint_seconds, 5);
}

TEST(ConfigTest, RefusesIntervalsBetweenCheckpointsThatCannotBe) {
  for (const std::string seconds : {"-1", "86401", "nan", "inf"}) {
    EXPECT_THAT(ProblemWith("[training]\ncheckpoint_seconds = " + seconds + "\n"),
                HasSubstr("client.toml:5: checkpoint_seconds in [training] must be between"))
        << seconds;
  }
}

TEST(ConfigTest, RefusesAnUnknownWayToRecompute) {
  EXPECT_THAT(ProblemWith("[training]\nrecompute = \"sometimes\"\n"),
              HasSubstr("client.toml:5: recompute in [training] must be \"auto\", \"never\" or "
                        "\"always\""));
  ClientFlags flags;
  flags.recompute = "never";
  EXPECT_EQ(Parse(kMinimal, flags)->recompute, Recompute::kNever);
  flags.recompute = "yes";
  EXPECT_THAT(Message(Parse(kMinimal, flags).status()), HasSubstr("--recompute must be"));
}

TEST(ConfigTest, RefusesMemoryThatCannotBe) {
  for (const std::string value : {"0", "-1", "nan", "1e7"}) {
    EXPECT_THAT(ProblemWith("[training]\nmemory_gb = " + value + "\n"),
                HasSubstr("client.toml:5: memory_gb in [training] must be above 0"));
  }
}

TEST(ConfigTest, RefusesAnUnknownLogFormat) {
  EXPECT_THAT(ProblemWith("[log]\nformat = \"xml\"\n"), HasSubstr("client.toml:5: format"));
}

TEST(ConfigTest, RefusesADataSetWithoutFile) {
  EXPECT_THAT(ProblemWith("[[datasets]]\nname = \"a\"\n"), HasSubstr("train"));
}

TEST(ConfigTest, RefusesADataSetWithoutName) {
  EXPECT_THAT(ProblemWith("[[datasets]]\nname = \"\"\ntrain = \"x\"\n"),
              HasSubstr("client.toml:5: name in [datasets] must not be empty"));
}

// As of a template whose variable has no value: it would allow every run.
TEST(ConfigTest, TakesAnEmptyNameOfAFileForNoDecision) {
  for (const std::string key : {"policy", "federation_key", "signing_certificate", "certificate"}) {
    EXPECT_THAT(ProblemWith(key + " = \"\"\n"),
                HasSubstr("client.toml:4: " + key + " must not be empty"));
  }
  EXPECT_THAT(ProblemWith("[[datasets]]\nname = \"a\"\ntrain = \"x\"\neval = \"\"\n"),
              HasSubstr("client.toml:7: eval in [datasets] must not be empty"));
  ClientFlags flags;
  flags.policy = flags.federation_key = "";
  EXPECT_THAT(std::string(Message(Parse(kMinimal, flags).status())),
              AllOf(HasSubstr("--policy must not be empty"),
                    HasSubstr("--federation-key must not be empty")));
}

TEST(ConfigTest, RefusesTwoDataSetsOfOneName) {
  EXPECT_THAT(ProblemWith("[[datasets]]\nname = \"a\"\ntrain = \"x\"\n"
                          "[[datasets]]\nname = \"a\"\ntrain = \"y\"\n"),
              HasSubstr("two data sets of the name \"a\""));
}

TEST(ConfigTest, RefusesADataSetFlagWithoutFile) {
  ClientFlags flags;
  flags.datasets = {"letters"};
  EXPECT_THAT(Message(Parse(kMinimal, flags).status()), HasSubstr("--dataset must be"));
}

TEST(ConfigTest, SaysThatTheFileIsMissing) {
  EXPECT_THAT(LoadClientConfig("/nowhere/client.toml", {}),
              HasCode(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace fedtune
