// SPDX-License-Identifier: Apache-2.0

#include "client/commands/log.h"

#include <memory>

#include "base/files.h"
#include "base/json.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "tests/support/coordinator_log.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::testing::AllOf;
using testing::CoordinatorLog;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::LogSigner;
using ::testing::Not;

const absl::Time kNoon = absl::FromUnixSeconds(1'800'100'000);

class SeenLogCommandsTest : public ::testing::Test {
 protected:
  SeenLogCommandsTest() {
    EXPECT_THAT(WriteFileAtomically(folder_.path() / "authority.pem", signer_->authority()),
                IsOk());
    grown_.Append(PauseAsked{.run = "run-1", .reason = "night"});
  }

  nlohmann::json Shown() { return *ParseJson(*PresentSeenLog(seen_, /*json=*/true), "show"); }

  const testing::TemporaryDirectory folder_;
  std::shared_ptr<const LogSigner> signer_ = std::make_shared<LogSigner>();
  CoordinatorLog restored_{signer_};
  CoordinatorLog grown_{signer_};
  SeenLog seen_{folder_.path(), folder_.path() / "authority.pem"};
};

TEST_F(SeenLogCommandsTest, ShowThatNoLogWasSeenYet) {
  EXPECT_EQ(*PresentSeenLog(seen_, /*json=*/false), "The coordinator has shown no log yet.\n");
  EXPECT_EQ(Shown(), nlohmann::json({{"seen", nullptr}, {"refused", nullptr}}));
}

TEST_F(SeenLogCommandsTest, ShowWhereTheLogStoodAndWhen) {
  ASSERT_THAT(seen_.Believe(grown_.SignedHead(), kNoon), IsOk());
  EXPECT_THAT(*PresentSeenLog(seen_, /*json=*/false),
              AllOf(HasSubstr("  federation   north\n  entries      2\n  root         " +
                              grown_.head().root.ToString()),
                    HasSubstr("2027-01-16T11:46:40Z"), Not(HasSubstr("accept"))));
  EXPECT_EQ(Shown()["seen"]["entries"], 2);
  EXPECT_EQ(Shown()["seen"]["root"], grown_.head().root.ToString());
}

TEST_F(SeenLogCommandsTest, ShowWhatIsRefusedAndWhatToDo) {
  ASSERT_THAT(seen_.Believe(grown_.SignedHead(), kNoon), IsOk());
  ASSERT_THAT(seen_.Refuse(restored_.SignedHead(), kNoon), IsOk());
  EXPECT_THAT(*PresentSeenLog(seen_, /*json=*/false),
              AllOf(HasSubstr("Refused"), HasSubstr(restored_.head().root.ToString()),
                    HasSubstr("fedtune-client log accept")));
  EXPECT_EQ(Shown()["refused"]["entries"], 1);
}

TEST_F(SeenLogCommandsTest, ShowThatWhatWasSeenIsDamaged) {
  ASSERT_THAT(WriteFileAtomically(seen_.believed_file(), "{"), IsOk());
  EXPECT_THAT(PresentSeenLog(seen_, /*json=*/false), HasCode(absl::StatusCode::kDataLoss));
}

TEST_F(SeenLogCommandsTest, AcceptShowsWhatWasSeenBeforeAndWhatIsAccepted) {
  ASSERT_THAT(seen_.Believe(grown_.SignedHead(), kNoon), IsOk());
  ASSERT_THAT(seen_.Refuse(restored_.SignedHead(), kNoon), IsOk());
  const auto accepted = seen_.Accept(kNoon);
  ASSERT_THAT(accepted, IsOk());
  EXPECT_THAT(
      PresentAccepted(*accepted, /*json=*/false),
      AllOf(HasSubstr(grown_.head().root.ToString()), HasSubstr(accepted->before_file.string()),
            HasSubstr(restored_.head().root.ToString())));
  const auto json = *ParseJson(PresentAccepted(*accepted, /*json=*/true), "accept");
  EXPECT_EQ(json["before"]["entries"], 2);
  EXPECT_EQ(json["accepted"]["entries"], 1);
}

TEST_F(SeenLogCommandsTest, AcceptSaysThatWhatWasSeenBeforeIsDamaged) {
  ASSERT_THAT(WriteFileAtomically(seen_.believed_file(), "{"), IsOk());
  ASSERT_THAT(seen_.Refuse(restored_.SignedHead(), kNoon), IsOk());
  const auto accepted = seen_.Accept(kNoon);
  ASSERT_THAT(accepted, IsOk());
  EXPECT_THAT(PresentAccepted(*accepted, /*json=*/false),
              AllOf(HasSubstr("damaged"), HasSubstr(accepted->before_file.string())));
  EXPECT_EQ((*ParseJson(PresentAccepted(*accepted, /*json=*/true), "accept"))["before"], nullptr);
}

}  // namespace
}  // namespace fedtune
