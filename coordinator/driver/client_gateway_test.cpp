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

// Two clients in an open round.
class ClientInARoundTest : public ClientGatewayTest {
 protected:
  ClientInARoundTest() {
    for (const char* name : {"ada", "bea"}) {
      ClientRecord client;
      client.institution = {name};
      driver_.gateway.Connect(client, std::make_shared<testing::SilentLine>());
    }
    const StartRequest request{.request_id = "first",
                               .plan_toml = kPlan,
                               .base_model_json = testing::TinyModelJson(),
                               .started_by = "grace"};
    const auto run =
        driver_.runs.Start(*PartsOfNewRun(request, kRun, federation_store_, clock_.Now()));
    for (const char* name : {"ada", "bea"}) (*run)->Receive({name}, RunAccepted{10});
    logged_.clear();
  }

  ~ClientInARoundTest() override { driver_.runs.Shutdown(); }

  static constexpr char kPlan[] = R"(name = "icd10"
base_model = "tiny"
[adapter]
rank = 1
targets = ["q_proj"]
[training]
steps = 1
[rounds]
count = 1
quorum = 1
deadline = "60s"
[aggregation]
mode = "plain"
method = "fedit"
)";
  const RunId kRun{"run-0001"};
};

TEST_F(ClientInARoundTest, IsNamedInTheLogWhenItFails) {
  driver_.gateway.Receive({"ada"}, kRun, ClientFailed{0, 1, "out of memory"});
  EXPECT_THAT(logged_, ElementsAre(AllOf(HasSubstr("a client has failed in a round"),
                                         HasSubstr("run=run-0001"), HasSubstr("round=1"),
                                         HasSubstr("client=ada"), HasSubstr("out of memory"))));
}

TEST_F(ClientInARoundTest, IsNamedInTheLogWhenItsContributionIsRefused) {
  ContributionHeader header;
  header.attempt = 1;
  driver_.gateway.ContributionRefused({"ada"}, kRun, header,
                                      absl::InvalidArgumentError("it is not finite"));
  EXPECT_THAT(logged_, ElementsAre(AllOf(HasSubstr("client=ada"), HasSubstr("was refused"),
                                         HasSubstr("it is not finite"))));
}

TEST_F(ClientInARoundTest, IsNamedOnceHoweverOftenItSaysThatItFails) {
  for (int i = 0; i < 10; ++i) {
    driver_.gateway.Receive({"ada"}, kRun, ClientFailed{0, 1, "out of memory"});
    driver_.gateway.Receive({"ada"}, kRun, ClientFailed{7, 1, "out of memory"});
    driver_.gateway.Receive({"mallory"}, kRun, ClientFailed{0, 1, "out of memory"});
  }
  EXPECT_THAT(logged_, SizeIs(1));
}

}  // namespace
}  // namespace fedtune
