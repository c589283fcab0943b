// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/client_gateway.h"

#include <string>
#include <vector>

#include "coordinator/driver/driver.h"
#include "coordinator/storage/sqlite_federation_store.h"
#include "coordinator/storage/sqlite_run_store.h"
#include "coordinator/storage/state_database.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/stored_run.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class ClientGatewayTest : public ::testing::Test {
 protected:
  const testing::TemporaryDirectory directory_;
  const std::shared_ptr<StateDatabase> state_ =
      *OpenStateDatabase(directory_.path() / kDatabaseName);
  const std::unique_ptr<RunStore> store_ =
      *SqliteRunStore::Open(state_, {.blobs = directory_.path() / kBlobsName});
  SqliteFederationStore federation_store_{state_};
  const Spool spool_ = *Spool::Open(directory_.path() / "spool");
  const SystemClock clock_ = {};
  std::vector<std::string> logged_;
  Log log_{[this](std::string_view line) { logged_.emplace_back(line); }};
  Driver driver_{{.run_store = *store_,
                  .federation_store = federation_store_,
                  .spool = spool_,
                  .clock = clock_,
                  .log = log_},
                 ActiveRuns::Threads(clock_)};
};

// What was recorded of another run and is sent again.
TEST_F(ClientGatewayTest, AContributionThatIsOutOfPlaceIsRefusedAndLogged) {
  ContributionHeader header;
  header.round = 3;
  header.attempt = 1;
  EXPECT_THAT(driver_.gateway.CheckContribution({"ada"}, {"run-0bad"}, header),
              HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(logged_,
              ElementsAre(AllOf(HasSubstr("contribution refused"), HasSubstr("run=run-0bad"),
                                HasSubstr("round=4"), HasSubstr("client=ada"))));
}

TEST_F(ClientGatewayTest, TheLogDoesNotGrowWithEachContributionThatIsOutOfPlace) {
  for (int i = 0; i < 200; ++i) {
    ContributionHeader header;
    header.round = i;
    EXPECT_FALSE(driver_.gateway.CheckContribution({"ada"}, {"run-0bad"}, header).ok());
  }
  EXPECT_THAT(logged_, SizeIs(RepeatedNews::kMost + 1));
  EXPECT_THAT(logged_, Contains(HasSubstr("refused again and again")).Times(1));
}

TEST_F(ClientGatewayTest, TheLogDoesNotGrowWithEachConnectionOfAClientThatComesAndGoes) {
  ClientRecord ada;
  ada.institution = {"ada"};
  for (int i = 0; i < 200; ++i) {
    const auto line = std::make_shared<testing::SilentLine>();
    driver_.gateway.Connect(ada, line);
    driver_.gateway.Disconnect(ada, line.get());
  }
  EXPECT_THAT(logged_, SizeIs(RepeatedNews::kMost + 1));
  EXPECT_THAT(logged_, Contains(HasSubstr("connects again and again")).Times(1));
}

}  // namespace
}  // namespace fedtune
