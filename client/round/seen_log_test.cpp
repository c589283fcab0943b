// SPDX-License-Identifier: Apache-2.0

#include "client/round/seen_log.h"

#include <memory>

#include "base/files.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "tests/support/coordinator_log.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::CoordinatorLog;
using testing::HasCode;
using testing::IsOk;
using testing::LogSigner;

const absl::Time kNoon = absl::FromUnixSeconds(1'800'100'000);
const absl::Time kEvening = kNoon + absl::Hours(8);

class SeenLogTest : public ::testing::Test {
 protected:
  SeenLogTest() {
    EXPECT_THAT(WriteFileAtomically(folder_.path() / "authority.pem", signer_->authority()),
                IsOk());
    second_.Append(PauseAsked{.run = "run-1", .reason = "night"});
  }

  const testing::TemporaryDirectory folder_;
  std::shared_ptr<const LogSigner> signer_ = std::make_shared<LogSigner>();
  CoordinatorLog first_{signer_};
  CoordinatorLog second_{signer_};
  SeenLog seen_{folder_.path(), folder_.path() / "authority.pem"};
};

TEST_F(SeenLogTest, HasSeenNothingAtFirst) {
  EXPECT_EQ(*seen_.Believed(), std::nullopt);
  EXPECT_EQ(*seen_.Refused(), std::nullopt);
}

TEST_F(SeenLogTest, KeepsWhatIsBelievedAndWhen) {
  const SignedCheckpoint proof = first_.SignedHead();
  ASSERT_THAT(seen_.Believe(proof, kNoon), IsOk());
  const auto kept = SeenLog(folder_.path(), folder_.path() / "authority.pem").Believed();
  ASSERT_THAT(kept, IsOk());
  EXPECT_EQ(*kept, (KeptCheckpoint{.checkpoint = {.federation = "north", .head = first_.head()},
                                   .proof = proof,
                                   .kept_at = kNoon}));
}

TEST_F(SeenLogTest, AcceptsWhatWasRefusedAndKeepsWhatWasBelieved) {
  ASSERT_THAT(seen_.Believe(first_.SignedHead(), kNoon), IsOk());
  const std::string before = *ReadFile(seen_.believed_file());
  ASSERT_THAT(seen_.Refuse(second_.SignedHead(), kNoon), IsOk());
  const auto accepted = seen_.Accept(kEvening);
  ASSERT_THAT(accepted, IsOk());
  EXPECT_EQ((*accepted->before)->checkpoint.head, first_.head());
  EXPECT_EQ(accepted->now.checkpoint.head, second_.head());
  EXPECT_EQ(*ReadFile(accepted->before_file), before);
  EXPECT_EQ(accepted->before_file.filename(), "log_checkpoint.until-20270116T194640.000Z.json");
  EXPECT_EQ(*seen_.Believed(), accepted->now);
  EXPECT_EQ(*seen_.Refused(), std::nullopt);
}

TEST_F(SeenLogTest, AcceptsWhatHasTheRootThatWasSeenAndNothingElse) {
  ASSERT_THAT(seen_.Refuse(first_.SignedHead(), kNoon), IsOk());
  ASSERT_THAT(seen_.Refuse(second_.SignedHead(), kNoon), IsOk());
  const auto none = seen_.Accept(kEvening, {.root = Sha256Of("another")});
  EXPECT_THAT(none, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(std::string(Message(none.status())),
              ::testing::HasSubstr(second_.head().root.ToString()));
  EXPECT_EQ(*seen_.Believed(), std::nullopt);
  const auto of_the_first = seen_.Accept(kEvening, {.root = first_.head().root});
  ASSERT_THAT(of_the_first, IsOk());
  EXPECT_EQ((*seen_.Believed())->checkpoint.head, first_.head());
}

TEST_F(SeenLogTest, AcceptsTheCheckpointOfWhichSomebodyHasKeptTheFile) {
  ASSERT_THAT(seen_.Refuse(first_.SignedHead(), kNoon), IsOk());
  const auto copy = folder_.path() / "seen.json";
  ASSERT_THAT(WriteFileAtomically(copy, *ReadFile(seen_.refused_file())), IsOk());
  ASSERT_THAT(seen_.Refuse(second_.SignedHead(), kNoon), IsOk());
  ASSERT_THAT(seen_.Refuse(CoordinatorLog(signer_).SignedHead(), kNoon), IsOk());
  ASSERT_THAT(seen_.Accept(kEvening, {.file = copy}), IsOk());
  EXPECT_EQ((*seen_.Believed())->checkpoint.head, first_.head());
}

TEST_F(SeenLogTest, AcceptsNoFileThatIsMissingOrChanged) {
  ASSERT_THAT(seen_.Refuse(first_.SignedHead(), kNoon), IsOk());
  const auto copy = folder_.path() / "seen.json";
  EXPECT_THAT(seen_.Accept(kEvening, {.file = copy}), HasCode(absl::StatusCode::kNotFound));
  ASSERT_THAT(WriteFileAtomically(copy, "{}"), IsOk());
  EXPECT_THAT(seen_.Accept(kEvening, {.file = copy}), HasCode(absl::StatusCode::kDataLoss));
}

TEST_F(SeenLogTest, AcceptsNothingWhereNothingIsRefused) {
  EXPECT_THAT(seen_.Accept(kNoon), HasCode(absl::StatusCode::kFailedPrecondition));
  ASSERT_THAT(seen_.Believe(first_.SignedHead(), kNoon), IsOk());
  EXPECT_THAT(seen_.Accept(kNoon), HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ((*seen_.Believed())->checkpoint.head, first_.head());
}

TEST_F(SeenLogTest, AcceptsNothingThatTheAuthoritysCoordinatorHasNotSigned) {
  ASSERT_THAT(seen_.Believe(first_.SignedHead(), kNoon), IsOk());
  const CoordinatorLog forged(std::make_shared<LogSigner>());
  ASSERT_THAT(seen_.Refuse(forged.SignedHead(), kNoon), IsOk());
  EXPECT_THAT(seen_.Accept(kNoon), HasCode(absl::StatusCode::kDataLoss));
  EXPECT_EQ((*seen_.Believed())->checkpoint.head, first_.head());
}

TEST_F(SeenLogTest, DoesNotBelieveAFileThatWasChanged) {
  ASSERT_THAT(seen_.Believe(first_.SignedHead(), kNoon), IsOk());
  std::string text = *ReadFile(seen_.believed_file());
  const size_t size = text.find("\\n1\\n");
  ASSERT_NE(size, std::string::npos);
  text[size + 2] = '2';
  ASSERT_THAT(WriteFileAtomically(seen_.believed_file(), text), IsOk());
  EXPECT_THAT(seen_.Believed(), HasCode(absl::StatusCode::kDataLoss));
}

TEST_F(SeenLogTest, DoesNotTakeAFileThatCannotBeReadForNone) {
  std::filesystem::create_directory(seen_.believed_file());
  EXPECT_FALSE(seen_.Believed().ok());
}

TEST_F(SeenLogTest, SetsTheRefusedOneAsideWhenTheLogGoesOn) {
  ASSERT_THAT(seen_.Believe(first_.SignedHead(), kNoon), IsOk());
  ASSERT_THAT(seen_.Refuse(second_.SignedHead(), kNoon), IsOk());
  const std::string refused = *ReadFile(seen_.refused_file());
  ASSERT_THAT(seen_.Believe(first_.SignedHead(), kEvening), IsOk());
  EXPECT_EQ(*seen_.Refused(), std::nullopt);
  EXPECT_EQ(*ReadFile(folder_.path() / "log_checkpoint.refused-until-20270116T194640.000Z.json"),
            refused);
}

TEST_F(SeenLogTest, OfWhatIsRefusedTheFirstStaysWhateverIsShownLater) {
  ASSERT_THAT(seen_.Believe(first_.SignedHead(), kNoon), IsOk());
  ASSERT_THAT(seen_.Refuse(second_.SignedHead(), kNoon), IsOk());
  const std::string fork = *ReadFile(seen_.refused_file());
  for (int i = 0; i < 3; ++i) {
    second_.Append(RunResumed{.run = "run-1"});
    ASSERT_THAT(seen_.Refuse(second_.SignedHead(), kNoon), IsOk());
  }
  EXPECT_EQ(*ReadFile(seen_.first_refused_file()), fork);
  EXPECT_EQ((*seen_.Refused())->checkpoint.head, second_.head());
  ASSERT_THAT(seen_.Accept(kEvening), IsOk());
  EXPECT_EQ(
      *ReadFile(folder_.path() / "log_checkpoint.refused-first-until-20270116T194640.000Z.json"),
      fork);
}

}  // namespace
}  // namespace fedtune
