// SPDX-License-Identifier: Apache-2.0

#include <condition_variable>
#include <future>
#include <mutex>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "aggregation/adapter_bytes.h"
#include "base/files.h"
#include "base/status.h"
#include "client/transport/coordinator_client.h"
#include "gmock/gmock.h"
#include "tests/support/coordinator_client_fixture.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::fedtune::testing::CoordinatorClientTest;
using ::fedtune::testing::FakeCoordinator;
using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;
using ::testing::HasSubstr;

// An adapter that is being fetched.
class Download {
 public:
  Download(CoordinatorClient& client, WantedAdapter wanted)
      : end_(std::async(std::launch::async, [this, &client, wanted = std::move(wanted)]() mutable {
          return client
              .FetchAdapter(std::move(wanted), stop_.get_token(),
                            [this](uint64_t done, uint64_t) { Tell(done); })
              .status();
        })) {}

  void AwaitBytes(uint64_t count) {
    std::unique_lock lock(mutex_);
    told_.wait(lock, [&] { return bytes_ >= count; });
  }

  void Stop() { stop_.request_stop(); }
  absl::Status End() { return end_.get(); }

  // Requires: End() has returned.
  uint64_t bytes() const { return bytes_; }

 private:
  void Tell(uint64_t done) {
    const std::lock_guard lock(mutex_);
    bytes_ = done;
    told_.notify_all();
  }

  std::stop_source stop_;
  std::mutex mutex_;
  std::condition_variable told_;
  uint64_t bytes_ = 0;
  std::future<absl::Status> end_;  // Last: it uses all of the above.
};

// Its institution has the authority's list.
class RevokedCoordinatorTest : public CoordinatorClientTest {
 protected:
  RevokedCoordinatorTest() { Write(1, {}); }

  void Write(uint64_t number, const std::vector<RevokedCertificate>& revoked) {
    ASSERT_THAT(WriteFileAtomically(
                    list_, federation_.SignRevocations(
                               {.number = number, .signed_at = absl::Now(), .revoked = revoked})),
                IsOk());
  }

  void RevokeCoordinator() { Revoke("coordinator"); }
  void RevokeSomebodyElse() { Revoke("st-anna"); }

  void Revoke(const std::string& name) {
    const std::string pem = *ReadFile(directory_.path() / name / "certificate.pem");
    Write(2, {{ParseCertificate(pem)->serial, absl::Now()}});
  }

  // As the daemon's watch.
  static void Look(const ChannelOptions& options, CoordinatorClient& client) {
    EXPECT_THAT(options.revocations->Refresh(), IsOk());
    client.HeedRevocations();
  }

  ChannelOptions Options() {
    ChannelOptions options = OptionsFor(coordinator_.address());
    options.coordinator = std::make_shared<SeenCertificate>();
    options.revocations = *Revocations::Open(list_, keys_.authority);
    return options;
  }

  const std::filesystem::path list_ = directory_.path() / "revoked.crl";
  const std::shared_ptr<const Contribution> large_ =
      std::make_shared<const Contribution>(Contribution{
          .id = {.run = "run-1", .round = 4}, .delta = std::vector<float>(4'000'000, 0.5F)});
};

TEST_F(RevokedCoordinatorTest, SaysNothingToARevokedCoordinator) {
  const ChannelOptions options = Options();
  EXPECT_THAT(ProbeCoordinator(options, absl::Seconds(20)), IsOk());
  RevokeCoordinator();
  const absl::Status refused = ProbeCoordinator(options, absl::Seconds(20)).status();
  EXPECT_THAT(refused, HasCode(absl::StatusCode::kUnauthenticated));
  EXPECT_THAT(std::string(Message(refused)),
              HasSubstr("the certificate of coordinator main of federation north (serial "));
  EXPECT_THAT(std::string(Message(refused)), HasSubstr("was revoked on"));
}

TEST_F(RevokedCoordinatorTest, LeavesACoordinatorThatIsRevokedMeanwhile) {
  const ChannelOptions options = Options();
  CoordinatorClient client(options, Greeting{.client_version = "1"}, listener_);
  EXPECT_EQ(listener_.Next(), "welcome to north");
  RevokeCoordinator();
  Look(options, client);
  EXPECT_THAT(listener_.Next(), HasSubstr("lost: there is a new list of revoked certificates"));
  for (int time = 0; time < 3; ++time) {
    EXPECT_THAT(listener_.Next(), HasSubstr("was revoked on"));
    Look(options, client);
  }
}

// As where the connection was forwarded to a good one, and the session was not.
TEST_F(RevokedCoordinatorTest, LeavesARevokedCoordinatorAlsoWhereAnotherWasSeenSince) {
  const FakeCoordinator good(
      federation_.WriteCredentials(directory_.path() / "good", Role::kCoordinator, "main"));
  ChannelOptions options = Options();
  CoordinatorClient client(options, Greeting{.client_version = "1"}, listener_);
  EXPECT_EQ(listener_.Next(), "welcome to north");
  ChannelOptions to_good = options;
  to_good.address = good.address();
  EXPECT_THAT(ProbeCoordinator(to_good, absl::Seconds(20)), IsOk());
  RevokeCoordinator();
  Look(options, client);
  EXPECT_THAT(listener_.Next(), HasSubstr("lost: "));
  EXPECT_THAT(listener_.Next(), HasSubstr("was revoked on"));
}

TEST_F(RevokedCoordinatorTest, DeliversNoMoreOfAContributionToARevokedCoordinator) {
  coordinator_.holds_first_upload = true;
  const ChannelOptions options = Options();
  CoordinatorClient client(options, Greeting{.client_version = "1"}, listener_);
  auto upload = std::async(std::launch::async, [&] { return client.Submit(large_, {}); });
  coordinator_.NextHeldChunk();
  RevokeCoordinator();
  Look(options, client);
  EXPECT_THAT(upload.get(), HasCode(absl::StatusCode::kUnavailable));
  EXPECT_THAT(client.Submit(large_, {}), HasCode(absl::StatusCode::kUnavailable));
  coordinator_.Release();
  EXPECT_LT(coordinator_.NextDelta().size(), ValueBytes(large_->delta).size());
}

TEST_F(RevokedCoordinatorTest, GoesOnWithAContributionWhenTheNewListIsOfAnotherCertificate) {
  coordinator_.holds_first_upload = true;
  const ChannelOptions options = Options();
  CoordinatorClient client(options, Greeting{.client_version = "1"}, listener_);
  auto upload = std::async(std::launch::async, [&] { return client.Submit(large_, {}); });
  const size_t received = coordinator_.NextHeldChunk().size();
  RevokeSomebodyElse();
  Look(options, client);
  const absl::Status left = upload.get();
  EXPECT_THAT(left, HasCode(absl::StatusCode::kUnavailable));
  EXPECT_THAT(std::string(Message(left)), HasSubstr("a new list of revoked certificates"));
  coordinator_.received_before = std::to_string(received);
  EXPECT_THAT(client.Submit(large_, {}), IsOk());
  EXPECT_EQ(coordinator_.NextDelta(), ValueBytes(large_->delta).substr(received));
}

TEST_F(RevokedCoordinatorTest, GoesOnWithAnAdapterWhenTheNewListIsOfAnotherCertificate) {
  coordinator_.blob = std::string(8000, 'a');
  coordinator_.holds_at = 3003;
  const ChannelOptions options = Options();
  CoordinatorClient client(options, Greeting{.client_version = "1"}, listener_);
  Download download(client, Wanted(coordinator_.blob));
  download.AwaitBytes(3003);
  RevokeSomebodyElse();
  Look(options, client);
  EXPECT_THAT(download.End(), IsOk());
  EXPECT_EQ(coordinator_.NextOffset(), 0u);
  EXPECT_EQ(coordinator_.NextOffset(), 3003u);
}

TEST_F(RevokedCoordinatorTest, FetchesNoMoreOfAnAdapterFromARevokedCoordinator) {
  coordinator_.blob = std::string(8000, 'a');
  coordinator_.holds_at = 3003;
  const ChannelOptions options = Options();
  CoordinatorClient client(options, Greeting{.client_version = "1"}, listener_);
  EXPECT_EQ(listener_.Next(), "welcome to north");
  Download download(client, Wanted(coordinator_.blob));
  download.AwaitBytes(3003);
  RevokeCoordinator();
  Look(options, client);
  EXPECT_THAT(listener_.Next(), HasSubstr("lost: "));
  EXPECT_THAT(listener_.Next(), HasSubstr("was revoked on"));
  coordinator_.Release();
  download.Stop();
  EXPECT_THAT(download.End(), HasCode(absl::StatusCode::kCancelled));
  EXPECT_EQ(download.bytes(), 3003u);
}

TEST_F(RevokedCoordinatorTest, AsksTheNextCoordinatorOfTheLog) {
  coordinator_.holds_first_question = true;
  const ChannelOptions options = Options();
  CoordinatorClient client(options, Greeting{.client_version = "1"}, listener_);
  auto proof = std::async(std::launch::async,
                          [&] { return client.ProveLog({.run = "run-1"}, {}).status(); });
  coordinator_.NextQuestion();
  RevokeSomebodyElse();
  Look(options, client);
  EXPECT_THAT(proof.get(), IsOk());
}

TEST_F(RevokedCoordinatorTest, ANewListOfAnotherCertificateCostsOneConnectionAndNothingElse) {
  const ChannelOptions options = Options();
  CoordinatorClient client(options, Greeting{.client_version = "1"}, listener_);
  EXPECT_EQ(listener_.Next(), "welcome to north");
  RevokeSomebodyElse();
  Look(options, client);
  EXPECT_THAT(listener_.Next(), HasSubstr("lost: there is a new list of revoked certificates"));
  EXPECT_EQ(listener_.Next(), "welcome to north");
  EXPECT_NE(coordinator_.NextPeer(), coordinator_.NextPeer());
  for (int time = 0; time < 3; ++time) Look(options, client);
  EXPECT_TRUE(coordinator_.NextMessage().has_hello());
  EXPECT_TRUE(coordinator_.NextMessage().has_hello());
  client.Send(InvitationAnswer{.run = "run-1", .accepted = true});
  EXPECT_TRUE(coordinator_.NextMessage().has_run_decision()) << "over the second one";
}

TEST_F(RevokedCoordinatorTest, LooksWithoutANewListDisturbNothing) {
  coordinator_.holds_first_upload = true;
  const ChannelOptions options = Options();
  CoordinatorClient client(options, Greeting{.client_version = "1"}, listener_);
  EXPECT_EQ(listener_.Next(), "welcome to north");
  auto upload = std::async(std::launch::async, [&] { return client.Submit(large_, {}); });
  coordinator_.NextHeldChunk();
  for (int time = 0; time < 3; ++time) Look(options, client);
  coordinator_.Release();
  EXPECT_THAT(upload.get(), IsOk());
  EXPECT_TRUE(coordinator_.NextMessage().has_hello());
  client.Send(InvitationAnswer{.run = "run-1", .accepted = true});
  EXPECT_TRUE(coordinator_.NextMessage().has_run_decision()) << "in the first session";
}

}  // namespace
}  // namespace fedtune
