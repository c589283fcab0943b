// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/client_gateway.h"

#include <string>
#include <vector>

#include "coordinator/driver/driver.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/stored_run.h"

namespace fedtune {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class ClientGatewayTest : public testing::StoredRunFixture {
 protected:
  std::vector<std::string> logged_;
  Log remembering_log_{[this](std::string_view line) { logged_.emplace_back(line); }};
  Driver driver_{{.run_store = *stored_,
                  .federation_store = catalogue_,
                  .spool = spool_,
                  .clock = clock_,
                  .log = remembering_log_},
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
    const auto run =
        driver_.runs.Start(*PartsOf({.rounds = "count = 1\nquorum = 1\ndeadline = \"60s\""}));
    for (const char* name : {"ada", "bea"}) (*run)->Receive({name}, RunAccepted{10});
    logged_.clear();
  }

  ~ClientInARoundTest() override { driver_.runs.Shutdown(); }
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
