// SPDX-License-Identifier: Apache-2.0

#include "client/transport/coordinator_client.h"

#include <cstdlib>
#include <future>
#include <memory>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include "aggregation/adapter_bytes.h"
#include "base/status.h"
#include "client/transport/transfers.h"
#include "gmock/gmock.h"
#include "tests/support/coordinator_client_fixture.h"
#include "tests/support/relay.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/test_federation.h"

namespace fedtune {
namespace {

using ::fedtune::testing::CoordinatorClientTest;
using ::fedtune::testing::FakeCoordinator;
using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;
using ::fedtune::testing::KeptLines;
using ::fedtune::testing::Relay;
using ::fedtune::testing::Shared;
using ::fedtune::testing::TestFederation;
using ::testing::HasSubstr;

v1::CoordinatorMessage AssignmentOf(const std::string& run) {
  v1::CoordinatorMessage message;
  v1::RoundAssignment& assignment = *message.mutable_round_assignment();
  assignment.set_run_id(run);
  assignment.set_attempt(1);
  assignment.set_adapter_sha256(std::string(32, 'x'));
  assignment.set_factors(2);
  return message;
}

TEST_F(CoordinatorClientTest, GreetsAndHearsInstructions) {
  coordinator_.script = {AssignmentOf("run-1")};
  const auto client = Connect();
  EXPECT_EQ(listener_.Next(), "welcome to north");
  EXPECT_EQ(listener_.Next(), "assigned run-1");
  EXPECT_EQ(coordinator_.NextMessage().hello().client_version(), "1");
}

TEST_F(CoordinatorClientTest, SendsReplies) {
  const auto client = Connect();
  listener_.Next();
  coordinator_.NextMessage();
  client->Send(InvitationAnswer{.run = "run-1", .accepted = true, .example_count = 9});
  client->Send(AttemptFailed{.id = {.run = "run-1", .round = 3, .attempt = 2}, .reason = "full"});
  EXPECT_EQ(coordinator_.NextMessage().run_decision().example_count(), 9);
  const v1::RoundFailure failure = coordinator_.NextMessage().round_failure();
  EXPECT_EQ(failure.round(), 3);
  EXPECT_EQ(failure.attempt(), 2);
  EXPECT_EQ(failure.reason(), "full");
}

TEST_F(CoordinatorClientTest, ComesBackAfterTheSessionEnds) {
  coordinator_.ends_first_session = true;
  const auto client = Connect();
  EXPECT_EQ(listener_.Next(), "welcome to north");
  EXPECT_THAT(listener_.Next(), HasSubstr("ended the session"));
  EXPECT_EQ(listener_.Next(), "welcome to north");
}

TEST_F(CoordinatorClientTest, EndsTheSessionWithACoordinatorThatSaysMoreThanThereIsRoomFor) {
  coordinator_.script = {AssignmentOf("run-1"), AssignmentOf("run-2"), AssignmentOf("run-3")};
  listener_.room = 1;
  const auto client = Connect();
  EXPECT_EQ(listener_.Next(), "welcome to north");
  EXPECT_EQ(listener_.Next(), "assigned run-1");
  EXPECT_EQ(listener_.Next(), "lost: too much is waiting");
  EXPECT_EQ(listener_.Next(), "welcome to north") << "and it tries again";
}

// As of a newer version. The log has a line each time.
TEST_F(CoordinatorClientTest, WaitsLongerEachTimeForACoordinatorWhoseMessagesItDoesNotKnow) {
  coordinator_.script = {v1::CoordinatorMessage()};
  const auto client = Connect();
  for (int time = 0; time < 3; ++time) {
    EXPECT_EQ(listener_.Next(), "welcome to north");
    EXPECT_THAT(listener_.Next(), HasSubstr("a message of an unknown kind"));
  }
  EXPECT_GE(listener_.last_pause.load(), absl::Seconds(1));
}

// As through a router that has forgotten it.
TEST_F(CoordinatorClientTest, NoticesThatALineIsDeadHoweverLongItWasIdle) {
  Relay relay(coordinator_.port());
  ChannelOptions options = OptionsFor("localhost:" + std::to_string(relay.port()));
  options.asked_after = absl::Seconds(1);
  const CoordinatorClient client(options, Greeting{.client_version = "1"}, listener_);
  EXPECT_EQ(listener_.Next(), "welcome to north");
  EXPECT_TRUE(relay.IsStillUsedAfter(absl::Seconds(4)));
  relay.GoDeaf();
  EXPECT_THAT(listener_.Next(), HasSubstr("lost"));
}

TEST_F(CoordinatorClientTest, ComesBackOverTheSameConnection) {
  coordinator_.first_answer = {grpc::StatusCode::UNAVAILABLE, "busy"};
  const auto client = Connect();
  EXPECT_EQ(coordinator_.NextPeer(), coordinator_.NextPeer());
}

TEST_F(CoordinatorClientTest, ShowsItsCertificateAnewWhereTheOldOneIsNotGoodAnyMore) {
  coordinator_.first_answer = {grpc::StatusCode::UNAUTHENTICATED, "it has expired; renew it"};
  const auto client = Connect();
  EXPECT_EQ(listener_.Next(), "lost: it has expired; renew it");
  EXPECT_EQ(listener_.Next(), "welcome to north");
  EXPECT_NE(coordinator_.NextPeer(), coordinator_.NextPeer());
}

TEST_F(CoordinatorClientTest, TakesMessagesAsLongAsItIsToldTo) {
  v1::CoordinatorMessage invitation;
  invitation.mutable_run_invitation()->set_run_id("run-1");
  invitation.mutable_run_invitation()->set_layout_json(std::string(9 << 20, 'x'));
  coordinator_.script = {invitation};
  ChannelOptions options = OptionsFor(coordinator_.address());
  options.most_message_bytes = 4 << 20;
  {
    const CoordinatorClient client(options, Greeting{.client_version = "1"}, listener_);
    EXPECT_EQ(listener_.Next(), "welcome to north");
    EXPECT_THAT(listener_.Next(), HasSubstr("lost: "));
  }
  KeptLines patient;
  options.most_message_bytes = kMostBytesInMessage;
  const CoordinatorClient client(options, Greeting{.client_version = "1"}, patient);
  EXPECT_EQ(patient.Next(), "welcome to north");
  EXPECT_EQ(patient.Next(), "another instruction");
}

TEST_F(CoordinatorClientTest, UnpacksNoCompressedMessage) {
  coordinator_.compresses = true;
  coordinator_.script = {AssignmentOf(std::string(10'000, 'x'))};
  const auto client = Connect();
  std::string line = listener_.Next();
  while (line.starts_with("welcome")) line = listener_.Next();
  EXPECT_THAT(line, HasSubstr("lost: "));
}

TEST_F(CoordinatorClientTest, EndsTheSessionOnAnInstructionItDoesNotKnow) {
  coordinator_.script = {v1::CoordinatorMessage()};
  const auto client = Connect();
  EXPECT_EQ(listener_.Next(), "welcome to north");
  EXPECT_THAT(listener_.Next(), HasSubstr("is it of another version?"));
}

TEST_F(CoordinatorClientTest, FetchesAnAdapterInOrder) {
  coordinator_.blob = std::string(2500, 'a') + "last";
  const auto client = Connect();
  const auto blob = Fetch(*client, coordinator_.blob);
  ASSERT_THAT(blob, IsOk());
  EXPECT_EQ(*blob, coordinator_.blob);
}

TEST_F(CoordinatorClientTest, GoesOnWithAnAdapterWhereTheConnectionBroke) {
  coordinator_.blob = std::string(5000, 'a') + "last";
  coordinator_.breaks_at = 3000;
  const auto client = Connect();
  EXPECT_THAT(Fetch(*client, coordinator_.blob), IsOk());
  EXPECT_EQ(coordinator_.breaks_at, 0) << "it did break";
}

TEST_F(CoordinatorClientTest, FetchesAnAdapterWhenItsCertificateIsRenewed) {
  coordinator_.blob = "adapters";
  coordinator_.first_fetch = {grpc::StatusCode::UNAUTHENTICATED, "it has expired; renew it"};
  const auto client = Connect();
  EXPECT_THAT(Fetch(*client, coordinator_.blob), IsOk());
}

TEST_F(CoordinatorClientTest, GoesOnWithAnAdapterOverTheConnectionThatIsThereThen) {
  FakeCoordinator after(
      federation_.WriteCredentials(directory_.path() / "after", Role::kCoordinator, "main"));
  after.blob = std::string(5000, 'a') + "last";
  coordinator_.blob = after.blob;
  coordinator_.breaks_at = 3000;
  bool is_first = true;
  const auto connection = [&]() -> Connection {
    const FakeCoordinator& now = std::exchange(is_first, false) ? coordinator_ : after;
    return {.channel = OpenChannel(OptionsFor(now.address())), .left = {}};
  };
  const TransferObserver nobody = [](uint64_t, uint64_t) {};
  EXPECT_THAT(
      FetchAdapter(connection, {.wanted = Wanted(after.blob), .stop = {}, .observer = nobody}),
      IsOk());
  EXPECT_EQ(coordinator_.breaks_at, 0) << "it did break";
}

TEST_F(CoordinatorClientTest, AsksAnewForAnAdapterOfWhichNothingComesAnyMoreAndGoesOnWhereItWas) {
  coordinator_.blob = std::string(400'000, 'a') + "last";
  coordinator_.holds_at = 200'000;
  const auto channel = OpenChannel(OptionsFor(coordinator_.address()));
  const TransferObserver nobody = [](uint64_t, uint64_t) {};
  const auto values = FetchAdapter(
      [&] {
        return Connection{channel, {}};
      },
      {.wanted = Wanted(coordinator_.blob),
       .stop = {},
       .observer = nobody,
       .longest_silence = absl::Seconds(2)});
  ASSERT_THAT(values, IsOk());
  EXPECT_EQ(ValueBytes(*values), coordinator_.blob);
  EXPECT_EQ(coordinator_.NextOffset(), 0U);
  EXPECT_GT(coordinator_.NextOffset(), 0U) << "what had come was not sent again";
}

// Of a line on which no piece comes in time at first.
TEST_F(CoordinatorClientTest, WaitsLongerForAnAdapterEachTimeThatNothingHasCome) {
  coordinator_.blob = std::string(400, 'a');
  coordinator_.pauses_before_each_fetch = absl::Milliseconds(700);
  const auto channel = OpenChannel(OptionsFor(coordinator_.address()));
  const TransferObserver nobody = [](uint64_t, uint64_t) {};
  const auto values = FetchAdapter(
      [&] {
        return Connection{channel, {}};
      },
      {.wanted = Wanted(coordinator_.blob),
       .stop = {},
       .observer = nobody,
       .longest_silence = absl::Milliseconds(200)});
  EXPECT_THAT(values, IsOk());
}

TEST_F(CoordinatorClientTest, AnAdapterLiesWhereTheLastOneOfItsSizeLay) {
  coordinator_.blob = std::string(400'000, 'a') + "last";
  const auto client = Connect();
  for (const bool fits : {true, false}) {
    SCOPED_TRACE(fits);
    WantedAdapter wanted = Wanted(coordinator_.blob);
    wanted.storage.resize(static_cast<size_t>(wanted.value_count) + (fits ? 0 : 1), 0.5F);
    const float* const storage = wanted.storage.data();
    const auto values = client->FetchAdapter(std::move(wanted), {}, [](uint64_t, uint64_t) {});
    ASSERT_THAT(values, IsOk());
    EXPECT_EQ(ValueBytes(*values), coordinator_.blob);
    EXPECT_EQ(values->size(), 100'001u);
    if (fits) {
      EXPECT_EQ(values->data(), storage);
    }
  }
}

TEST_F(CoordinatorClientTest, ASmallAdapterKeepsNothingOfALargeOneBeforeIt) {
  coordinator_.blob = std::string(40, 'a');
  WantedAdapter wanted = Wanted(coordinator_.blob);
  wanted.storage.resize(1'000'000);
  const auto values = Connect()->FetchAdapter(std::move(wanted), {}, [](uint64_t, uint64_t) {});
  ASSERT_THAT(values, IsOk());
  EXPECT_LT(values->capacity(), 1000u);
}

TEST_F(CoordinatorClientTest, RefusesAnAdapterOfAnotherContent) {
  coordinator_.blob = std::string(100, 'a');
  const auto client = Connect();
  EXPECT_THAT(Fetch(*client, std::string(100, 'b')), HasCode(absl::StatusCode::kDataLoss));
}

TEST_F(CoordinatorClientTest, RefusesAnAdapterOfAnotherSize) {
  coordinator_.blob = std::string(100, 'a');
  const auto client = Connect();
  EXPECT_THAT(Fetch(*client, std::string(96, 'a')), HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Fetch(*client, std::string(104, 'a')), HasCode(absl::StatusCode::kDataLoss));
}

TEST_F(CoordinatorClientTest, SaysThatThereIsNoSuchAdapter) {
  const auto client = Connect();
  EXPECT_THAT(Fetch(*client, "none"), HasCode(absl::StatusCode::kNotFound));
}

TEST_F(CoordinatorClientTest, StopsFetching) {
  coordinator_.blob = std::string(100, 'a');
  const auto client = Connect();
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THAT(Fetch(*client, coordinator_.blob, stop.get_token()),
              HasCode(absl::StatusCode::kCancelled));
}

TEST_F(CoordinatorClientTest, SubmitsAHeaderAndAllValues) {
  Contribution contribution{.id = {.run = "run-1", .round = 4}, .factors = FactorSet::kA};
  contribution.delta.assign(600'000, 0.5f);  // More than two chunks.
  contribution.metrics.training_loss = 1.25;
  contribution.metrics.after = EvaluationResult{.loss = 2, .accuracy = {}, .example_count = 3};
  const auto client = Connect();
  EXPECT_THAT(client->Submit(Shared(contribution), {}), IsOk());

  const v1::ContributionHeader header = coordinator_.NextHeader();
  EXPECT_EQ(header.round(), 4);
  EXPECT_EQ(header.factors(), 1);
  EXPECT_EQ(header.size_bytes(), 2'400'000);
  EXPECT_EQ(header.metrics().training_loss(), 1.25);
  EXPECT_FALSE(header.metrics().has_before());
  EXPECT_FALSE(header.metrics().after().has_accuracy());
  const std::string delta = coordinator_.NextDelta();
  EXPECT_EQ(delta, ValueBytes(contribution.delta));
  EXPECT_EQ(header.sha256(), Sha256Of(delta).ToBinary());
}

TEST_F(CoordinatorClientTest, HandsAMaskedContributionInPieces) {
  MaskedContribution contribution{.id = {.run = "run-1", .round = 4}, .manifest = {5, 1}};
  contribution.elements.resize(2'500'000);
  for (size_t i = 0; i < contribution.elements.size(); ++i) {
    contribution.elements[i] = static_cast<uint8_t>(i * 31 >> 3);
  }
  const auto client = Connect();
  ASSERT_THAT(client->SubmitMasked(Shared(contribution), {}), IsOk());
  EXPECT_EQ(coordinator_.NextHeader().input_manifest(), std::string("\5\1", 2));
  EXPECT_EQ(coordinator_.NextDelta(),
            std::string(contribution.elements.begin(), contribution.elements.end()));
}

TEST_F(CoordinatorClientTest, SendsOnlyWhatIsMissingOfALargeContribution) {
  coordinator_.received_before = "9000000";
  Contribution contribution{.id = {.run = "run-1", .round = 4}};
  for (int i = 0; i < 2'500'000; ++i) contribution.delta.push_back(static_cast<float>(i));
  const auto client = Connect();
  ASSERT_THAT(client->Submit(Shared(contribution), {}), IsOk());
  EXPECT_EQ(coordinator_.NextDelta(), ValueBytes(contribution.delta).substr(9'000'000));
}

TEST_F(CoordinatorClientTest, SendsAllWhenToldOfMoreThanThereIsOrOfNoNumber) {
  Contribution contribution{.id = {.run = "run-1", .round = 4}};
  contribution.delta.assign(1'500'000, 0.5f);
  const auto client = Connect();
  for (const std::string_view told : {"6000001", "-1", "all", ""}) {
    coordinator_.received_before = told;
    ASSERT_THAT(client->Submit(Shared(contribution), {}), IsOk());
    EXPECT_EQ(coordinator_.NextDelta().size(), 6'000'000u) << told;
  }
}

// What has been read of it may wait to be sent when the call is over.
TEST_F(CoordinatorClientTest, OwnsAStoppedContributionUntilNothingOfItWaits) {
  coordinator_.holds_first_upload = true;
  const auto let_go = std::make_shared<std::promise<void>>();
  std::shared_ptr<const Contribution> contribution(
      new Contribution{.id = {.run = "run-1", .round = 4},
                       .delta = std::vector<float>(4'000'000, 0.5F)},
      [let_go](const Contribution* nobodys) {
        delete nobodys;
        let_go->set_value();
      });
  const auto client = Connect();
  std::stop_source stop;
  auto upload = std::async(std::launch::async, [&, owned = std::exchange(contribution, nullptr)] {
    return client->Submit(owned, stop.get_token());
  });
  coordinator_.NextHeldChunk();
  stop.request_stop();
  EXPECT_THAT(upload.get(), HasCode(absl::StatusCode::kCancelled));
  upload = {};
  coordinator_.Release();
  let_go->get_future().wait();
}

TEST_F(CoordinatorClientTest, PassesOnWhyAContributionIsNotTaken) {
  coordinator_.verdict = {grpc::StatusCode::FAILED_PRECONDITION, "round 4 is closed"};
  Contribution contribution{.id = {.run = "run-1", .round = 4}};
  contribution.delta.assign(3'000'000, 0.0f);
  const auto client = Connect();
  const absl::Status status = client->Submit(Shared(contribution), {});
  EXPECT_THAT(status, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(Message(status), "round 4 is closed");
}

TEST_F(CoordinatorClientTest, PassesOnThatAContributionIsToComeAgain) {
  coordinator_.verdict = {grpc::StatusCode::UNAVAILABLE, "no space for it now"};
  const auto client = Connect();
  const absl::Status status = client->Submit(Shared(Contribution{.id = {.run = "run-1"}}), {});
  EXPECT_THAT(status, HasCode(absl::StatusCode::kUnavailable));
  EXPECT_EQ(Message(status), "no space for it now");
}

TEST_F(CoordinatorClientTest, AContributionIsToComeAgainWhereTheCoordinatorIsShortOfMemory) {
  coordinator_.verdict = {grpc::StatusCode::RESOURCE_EXHAUSTED, "RST_STREAM"};
  const absl::Status status = Connect()->Submit(Shared(Contribution{.id = {.run = "run-1"}}), {});
  EXPECT_THAT(status, HasCode(absl::StatusCode::kUnavailable));
  EXPECT_EQ(Message(status), "the coordinator has no room for it now: RST_STREAM");
}

TEST_F(CoordinatorClientTest, AContributionIsToComeAgainWhenTheCertificateIsRenewed) {
  coordinator_.verdict = {grpc::StatusCode::UNAUTHENTICATED, "it has expired; renew it"};
  const auto client = Connect();
  const absl::Status status = client->Submit(Shared(Contribution{.id = {.run = "run-1"}}), {});
  EXPECT_THAT(status, HasCode(absl::StatusCode::kUnavailable));
  EXPECT_EQ(Message(status), "it has expired; renew it");
  EXPECT_THAT(client->SubmitMasked(Shared(MaskedContribution{.id = {.run = "run-1"}}), {}),
              HasCode(absl::StatusCode::kUnavailable));
}

TEST_F(CoordinatorClientTest, AContributionIsToComeAgainWhereSomebodyBetweenHasCancelledIt) {
  coordinator_.verdict = {grpc::StatusCode::CANCELLED, "the stream was reset"};
  const absl::Status status = Connect()->Submit(Shared(Contribution{.id = {.run = "run-1"}}), {});
  EXPECT_THAT(status, HasCode(absl::StatusCode::kUnavailable));
  EXPECT_EQ(Message(status), "the stream was reset");
}

TEST_F(CoordinatorClientTest, SaysThatAContributionCannotReachTheCoordinator) {
  CoordinatorClient client(OptionsFor("localhost:1"), Greeting{.client_version = "1"}, listener_);
  const absl::Status status = client.Submit(Shared(Contribution{.id = {.run = "run-1"}}), {});
  EXPECT_THAT(status, HasCode(absl::StatusCode::kUnavailable));
  EXPECT_EQ(Message(status),
            "cannot reach the coordinator at localhost:1: nobody listens there; is it running?");
}

TEST_F(CoordinatorClientTest, AsksWhatTheLogSaysOfARound) {
  coordinator_.log.mutable_checkpoint()->set_note("fedtune.log/north");
  coordinator_.log.set_entry("round opened");
  const auto client = Connect();
  const auto proof =
      client->ProveLog({.seen_size = 7, .run = "run-1", .round = 2, .attempt = 3}, {});
  ASSERT_THAT(proof, IsOk()) << proof.status();
  EXPECT_EQ(proof->checkpoint.note, "fedtune.log/north");
  EXPECT_EQ(proof->entry, "round opened");
  const v1::ProveLogRequest question = coordinator_.NextQuestion();
  EXPECT_EQ(question.seen_size(), 7);
  EXPECT_EQ(question.run_id(), "run-1");
  EXPECT_EQ(question.round(), 2);
  EXPECT_EQ(question.attempt(), 3);
}

TEST_F(CoordinatorClientTest, AsksForTheLogAgainUntilItIsAnswered) {
  coordinator_.log_answers = {{grpc::StatusCode::UNAVAILABLE, "it starts"},
                              {grpc::StatusCode::DEADLINE_EXCEEDED, "it is busy"},
                              {grpc::StatusCode::UNAUTHENTICATED, "certificate has expired"}};
  coordinator_.log.set_entry("run started");
  const auto proof = Connect()->ProveLog({.run = "run-1"}, {});
  ASSERT_THAT(proof, IsOk()) << proof.status();
  EXPECT_EQ(proof->entry, "run started");
}

TEST_F(CoordinatorClientTest, StopsAskingForTheLog) {
  coordinator_.log_verdict = {grpc::StatusCode::UNAVAILABLE, "it starts"};
  const auto client = Connect();
  std::stop_source stop;
  const std::jthread asker([&] {
    EXPECT_THAT(client->ProveLog({.run = "run-1"}, stop.get_token()),
                HasCode(absl::StatusCode::kCancelled));
  });
  coordinator_.NextQuestion();
  stop.request_stop();
}

TEST_F(CoordinatorClientTest, SaysThatTheCoordinatorHasNoLogOrNoSuchEntry) {
  const auto client = Connect();
  for (const auto code : {grpc::StatusCode::UNIMPLEMENTED, grpc::StatusCode::NOT_FOUND}) {
    coordinator_.log_answers = {{code, "no"}};
    EXPECT_THAT(client->ProveLog({.run = "run-1"}, {}),
                HasCode(static_cast<absl::StatusCode>(code)));
  }
}

TEST_F(CoordinatorClientTest, FindsTheCoordinatorWithoutASession) {
  EXPECT_THAT(ProbeCoordinator(OptionsFor(coordinator_.address()), absl::Seconds(20)), IsOk());
}

TEST_F(CoordinatorClientTest, SaysThatNobodyAnswers) {
  const auto probe = ProbeCoordinator(OptionsFor("localhost:1"), absl::Seconds(20));
  EXPECT_THAT(probe, HasCode(absl::StatusCode::kUnavailable));
  EXPECT_THAT(Message(probe.status()), HasSubstr("cannot reach the coordinator at localhost:1"));
}

TEST_F(CoordinatorClientTest, SaysThatAProxyIsInTheWay) {
  ::setenv("https_proxy", "http://127.0.0.1:1", /*replace=*/1);
  const auto probe = ProbeCoordinator(OptionsFor(coordinator_.address()), absl::Seconds(20));
  ::unsetenv("https_proxy");
  EXPECT_THAT(Message(probe.status()), HasSubstr("nobody listens there"));
  EXPECT_THAT(Message(probe.status()), HasSubstr("by the proxy that https_proxy names"));
}

TEST_F(CoordinatorClientTest, RefusesACoordinatorOfAnotherAuthority) {
  const TestFederation other;
  const FakeCoordinator stranger(
      other.WriteCredentials(directory_.path() / "stranger", Role::kCoordinator, "main"));
  const auto probe = ProbeCoordinator(OptionsFor(stranger.address()), absl::Seconds(20));
  EXPECT_THAT(probe, HasCode(absl::StatusCode::kUnauthenticated)) << probe.status();
  EXPECT_THAT(Message(probe.status()), HasSubstr("another authority"));
}

TEST_F(CoordinatorClientTest, RefusesAClientThatPosesAsCoordinator) {
  const FakeCoordinator impostor(
      federation_.WriteCredentials(directory_.path() / "impostor", Role::kClient, "impostor"));
  const auto probe = ProbeCoordinator(OptionsFor(impostor.address()), absl::Seconds(20));
  EXPECT_THAT(probe, HasCode(absl::StatusCode::kUnauthenticated)) << probe.status();
}

TEST_F(CoordinatorClientTest, RefusesTheCoordinatorOfAnotherFederation) {
  ChannelOptions options = OptionsFor(coordinator_.address());
  options.federation = "south";
  const auto probe = ProbeCoordinator(options, absl::Seconds(20));
  EXPECT_THAT(probe, HasCode(absl::StatusCode::kUnauthenticated)) << probe.status();
  EXPECT_THAT(Message(probe.status()), HasSubstr("not the coordinator of federation south"));
}

}  // namespace
}  // namespace fedtune
