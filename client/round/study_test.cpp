// SPDX-License-Identifier: Apache-2.0

#include "client/round/study.h"

#include "base/status.h"
#include "gmock/gmock.h"
#include "plan/adapter_targets.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

constexpr char kModel[] = "examples/base_model/icd-moe";

constexpr char kPlan[] = R"(name = "icd10"
base_model = "icd-moe"
[adapter]
rank = 4
targets = ["attention"]
[training]
steps = 2
batch_size = 2
[rounds]
count = 3
[aggregation]
mode = "plain"
)";

// The same, aggregated securely.
std::string SecurePlanText() {
  std::string text = kPlan;
  return text.replace(text.find("plain"), 5, "secure");
}

class StudyTest : public ::testing::Test {
 protected:
  StudyTest() : shelf_({"examples/icd10", kModel}) {
    const auto model = ReadBaseModel(kModel);
    EXPECT_THAT(model, IsOk());
    const Plan plan = *ParsePlan(kPlan, "plan.toml");
    invitation_ = {.run = "run-1",
                   .plan_toml = kPlan,
                   .layout_json = ResolveTargets(model->description, plan.adapter)->ToJson(),
                   .base_digest = model->description.digest};
  }

  absl::StatusOr<RunMaterial> Study() {
    return StudyRun({.institution = "st-anna",
                     .policy = policy_,
                     .base_models = shelf_,
                     .load_records = [this](const auto&, const auto&) { return records_; },
                     .join_secure_run = [this](std::string_view roster,
                                               CipherSuite) -> absl::StatusOr<SecureMembership> {
                       if (roster != "the roster") return absl::NotFoundError("no such roster");
                       return membership_;
                     },
                     .memory = memory_,
                     .observe_memory =
                         [this](const std::string& run, const MemoryFit& fit) {
                           observed_.emplace_back(run, fit.recomputed_layers);
                         },
                     .observe_refusal =
                         [this](const std::string& run, const absl::Status& why) {
                           refusals_.emplace_back(run, Message(why));
                         }},
                    invitation_);
  }

  std::string Reason() { return std::string(Message(Study().status())); }

  BaseModelShelf shelf_;
  Policy policy_;
  Invitation invitation_;
  SecureMembership membership_;
  MemoryBudget memory_;
  std::vector<std::pair<std::string, int64_t>> observed_;
  std::vector<std::pair<std::string, std::string>> refusals_;
  absl::StatusOr<LocalRecords> records_ = LocalRecords{
      .training = {{.tokens = {1, 2}, .is_target = {0, 1}}}, .validation = {}, .choices = {}};
};

TEST_F(StudyTest, KeepsWhatTheRunNeeds) {
  const auto material = Study();
  ASSERT_THAT(material, IsOk());
  EXPECT_EQ(material->plan.name, "icd10");
  EXPECT_EQ(material->layout.ToJson(), invitation_.layout_json);
  EXPECT_EQ(material->layout_digest, Sha256Of(invitation_.layout_json));
  EXPECT_EQ(material->routing.layers, 3);
  EXPECT_EQ(material->routing.experts, 8);
  EXPECT_EQ(material->base_model, kModel);
  EXPECT_EQ(material->training.size(), 1);
}

TEST_F(StudyTest, SaysHowTheRunFitsIntoMemory) {
  ASSERT_EQ(Study()->recomputed_layers, 0);
  memory_.recompute = Recompute::kAlways;
  ASSERT_EQ(Study()->recomputed_layers, 4);
  EXPECT_THAT(observed_, ElementsAre(Pair("run-1", 0), Pair("run-1", 4)));
}

TEST_F(StudyTest, DeclinesARunForWhichMemoryDoesNotSuffice) {
  memory_.bytes = 1'000'000;
  EXPECT_THAT(Reason(), HasSubstr("training would take"));
  EXPECT_THAT(Reason(), HasSubstr("and there are 1.0 MB"));
}

TEST_F(StudyTest, DeclinesAPlanThatCannotBeRead) {
  invitation_.plan_toml = "name = 3";
  EXPECT_THAT(Reason(), HasSubstr("plan of run-1:1: name must be a string"));
}

TEST_F(StudyTest, JoinsASecureRunWithWhatItsPolicyInsistsOn) {
  invitation_.plan_toml = SecurePlanText() + "[secure]\nmin_cohort = 8\n";
  invitation_.signing_roster = "the roster";
  membership_.number = 7;
  policy_.min_cohort = 6;
  policy_.assumed_corrupt = 1;
  const auto material = Study();
  ASSERT_THAT(material, IsOk());
  ASSERT_TRUE(material->membership.has_value());
  EXPECT_EQ(material->membership->number, 7);
  EXPECT_EQ(material->floor.min_cohort, 6);
  EXPECT_EQ(material->floor.assumed_corrupt, 1);
  EXPECT_EQ(material->plan_toml, invitation_.plan_toml);
  EXPECT_EQ(material->base_digest, invitation_.base_digest);
}

TEST_F(StudyTest, DeclinesASecureRunThatItCannotJoinRatherThanContributePlainly) {
  invitation_.plan_toml = SecurePlanText();
  EXPECT_EQ(Reason(), "no such roster");
}

TEST_F(StudyTest, JoinsNoRosterForAPlainRun) {
  const auto material = Study();
  ASSERT_THAT(material, IsOk());
  EXPECT_FALSE(material->membership.has_value());
}

TEST_F(StudyTest, FindsABaseModelByItsEarlierDigestAsARunOfBeforeNamesIt) {
  invitation_.base_digest = ReadBaseModel(kModel)->earlier_digest;
  policy_.base_models = {invitation_.base_digest};
  const auto material = Study();
  ASSERT_THAT(material, IsOk());
  EXPECT_EQ(material->base_digest, invitation_.base_digest);
}

TEST_F(StudyTest, DeclinesABaseModelThatIsMissingAndSaysWhatWasFound) {
  invitation_.base_digest = "sha256:77ab";
  EXPECT_THAT(Reason(), HasSubstr("base model sha256:77ab is not on its machine; "));
  EXPECT_THAT(Reason(), HasSubstr("config.json")) << "examples/icd10 is no base model";
}

TEST_F(StudyTest, DeclinesALayoutThatIsNone) {
  invitation_.layout_json = "{}";
  EXPECT_THAT(Study(), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(StudyTest, DeclinesALayoutThatIsNotThePlans) {
  std::vector<AdapterModule> modules = AdapterLayout::FromJson(invitation_.layout_json)->modules();
  modules.pop_back();
  invitation_.layout_json = AdapterLayout::Create(modules)->ToJson();
  EXPECT_THAT(Reason(), HasSubstr("which are not the"));
}

TEST_F(StudyTest, DeclinesSequencesThatTheBaseModelCannotRead) {
  invitation_.plan_toml = std::string(kPlan);
  invitation_.plan_toml.replace(invitation_.plan_toml.find("steps = 2"), 9,
                                "steps = 2\nsequence_length = 100000");
  EXPECT_THAT(Reason(), HasSubstr("the plan has sequences of 100000 tokens, and icd-moe takes"));
}

TEST_F(StudyTest, KnowsItsRecordsByTheirDigest) {
  const Digest digest = RecordsDigest("st-anna", *records_);
  EXPECT_EQ(Study()->records_digest, digest);
  EXPECT_NE(RecordsDigest("st-anne", *records_), digest);
  const TokenizedRecord& record = records_->training[0];
  LocalRecords other = *records_;
  other.training.push_back(record);
  EXPECT_NE(RecordsDigest("st-anna", other), digest);
  other = *records_;
  other.training[0].tokens[0] ^= 1;
  EXPECT_NE(RecordsDigest("st-anna", other), digest);
  other = *records_;
  other.training[0].is_target[0] ^= 1;
  EXPECT_NE(RecordsDigest("st-anna", other), digest);
  other = *records_;
  std::swap(other.training, other.validation);
  EXPECT_NE(RecordsDigest("st-anna", other), digest);
}

TEST_F(StudyTest, DrawsBatchesFromItsRecords) {
  const auto material = Study();
  ASSERT_THAT(material, IsOk());
  EXPECT_THAT(material->batch(5), ElementsAre(0, 0)) << "of one record, batches of two";
}

TEST_F(StudyTest, DeclinesWhatThePolicyForbids) {
  policy_.max_rank = 2;
  EXPECT_THAT(Reason(), HasSubstr("its policy allows at most 2"));
}

TEST_F(StudyTest, DeclinesWithoutRecords) {
  records_->training.clear();
  EXPECT_THAT(Reason(), HasSubstr("no record that can be trained on"));
}

// A secure run, of which the policy tells no counts unless it says so.
class SecureStudyTest : public StudyTest {
 protected:
  SecureStudyTest() {
    invitation_.plan_toml = SecurePlanText();
    invitation_.signing_roster = "the roster";
  }
};

TEST_F(SecureStudyTest, SaysNoNumberOfRecordsThatCannotBeRead) {
  records_ = absl::InvalidArgumentError("train.jsonl:1: no JSON; all 1,234 records were rejected");
  EXPECT_EQ(Reason(), "its records cannot be read; its log says more");
  EXPECT_THAT(refusals_, ElementsAre(Pair("run-1", HasSubstr("all 1,234 records"))));
}

TEST_F(SecureStudyTest, SaysNoNumberOfATrainingThatDoesNotFit) {
  memory_.bytes = 1'000'000;
  EXPECT_EQ(Reason(), "training does not fit into its memory; its log says more");
  EXPECT_THAT(refusals_, ElementsAre(Pair("run-1", HasSubstr("there are 1.0 MB"))));
}

TEST_F(SecureStudyTest, SaysAllWhereThePolicyTellsRecordCounts) {
  policy_.tell_record_counts = true;
  records_ = absl::InvalidArgumentError("all 1,234 records were rejected");
  EXPECT_EQ(Reason(), "all 1,234 records were rejected");
  EXPECT_THAT(refusals_, ElementsAre());
}

TEST_F(SecureStudyTest, KnowsWhetherTheCoordinatorMayKnowItsCounts) {
  EXPECT_FALSE(Study()->tells_counts);
  policy_.tell_record_counts = true;
  EXPECT_TRUE(Study()->tells_counts);
  policy_.tell_record_counts = false;
  invitation_.plan_toml = kPlan;
  EXPECT_TRUE(Study()->tells_counts) << "a plain run cannot do without";
}

TEST_F(StudyTest, DeclinesWhenItsDataCannotBeRead) {
  records_ = absl::NotFoundError("train.jsonl: no such file");
  EXPECT_EQ(Reason(), "train.jsonl: no such file");
}

}  // namespace
}  // namespace fedtune
